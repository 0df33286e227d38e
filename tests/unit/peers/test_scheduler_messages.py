"""What schedulers are told, in protobuf."""

import pytest

from pydapr.peers import scheduler_messages as messages
from pydapr.peers.scheduling import FailurePolicy
from pydapr.proto.dapr.proto.common.v1 import common_pb2


@pytest.mark.parametrize(("seconds", "text"), [(1.5, "1.500s"), (-1.5, "-1.500s"), (-0.25, "-0.250s"), (0, "0s")])
def test_an_interval_is_a_duration(seconds: float, text: str) -> None:
    message = messages.policy_message(FailurePolicy(False, seconds, 1))

    assert message.constant.interval.ToJsonString() == text
    assert messages.policy(message) == FailurePolicy(False, seconds, 1)


def test_the_longest_interval_that_can_be_asked_for_is_told() -> None:
    asked = common_pb2.JobFailurePolicy()
    asked.constant.interval.seconds = (1 << 63) - 1
    policy = messages.policy(asked)
    assert policy is not None

    assert messages.policy_message(policy) == asked
