"""What the client of a stream says that it takes; the streams themselves are in `tests/integration/scheduler`."""

from typing import Any

import pytest

from pydapr.errors import Code, RpcError
from pydapr.proto.dapr.proto.scheduler.v1 import scheduler_pb2 as pb
from pydapr.scheduler import watching


def says(kinds: Any) -> pb.WatchJobsRequestInitial:
    """What takes these kinds, also those that there are not."""
    return pb.WatchJobsRequestInitial(app_id="a", namespace="n", accept_job_types=kinds)


def test_a_kind_that_is_named_twice() -> None:
    for kind, name in ((pb.JOB_TARGET_TYPE_JOB, "JOB_TARGET_TYPE_JOB"), (77, "77")):
        with pytest.raises(RpcError) as refused:
            watching._taker(says([1, 2, 3, kind, kind]))
        expected = (Code.UNKNOWN, f"duplicate target type specified: {name}")
        assert (refused.value.code, refused.value.message) == expected


def test_kinds_without_number_are_looked_at_once_each() -> None:
    """Each was once counted among all the others: a message of 4 MB would have stopped the scheduler for hours."""
    assert watching._taker(says(range(500_000))).kinds == (("job", "n", "a"),)
