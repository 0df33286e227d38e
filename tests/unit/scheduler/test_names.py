"""Keys of jobs: as the original's, so that either finds what the other has kept."""

import pytest

from pydapr.proto.dapr.proto.scheduler.v1 import scheduler_pb2
from pydapr.scheduler import names


def app(namespace: str = "ns", app_id: str = "id") -> scheduler_pb2.JobMetadata:
    metadata = scheduler_pb2.JobMetadata(namespace=namespace, app_id=app_id)
    metadata.target.job.SetInParent()
    return metadata


def actor(type: str = "T", id: str = "1") -> scheduler_pb2.JobMetadata:
    metadata = scheduler_pb2.JobMetadata(namespace="ns", app_id="id")
    metadata.target.actor.type, metadata.target.actor.id = type, id
    return metadata


def test_names_of_jobs_and_reminders() -> None:
    assert names.name_prefix(app()) == "app||ns||id||"
    assert names.name_prefix(actor()) == "actorreminder||ns||T||1||"
    assert names.name_prefix(actor(id="a||b")) == "actorreminder||ns||T||a||b||"


def test_what_is_asked_for_together() -> None:
    assert names.query_prefix(app()) == "app||ns||id||"
    assert names.query_prefix(app(), is_open=True) == "app||ns||id"
    assert names.query_prefix(actor()) == "actorreminder||ns||T||1||"
    assert names.query_prefix(actor(id="")) == "actorreminder||ns||T||"
    assert names.query_prefix(actor(), is_open=True) == "actorreminder||ns||T||1"
    assert names.query_prefix(actor(id=""), is_open=True) == "actorreminder||ns||T"


def test_a_target_is_needed() -> None:
    without = scheduler_pb2.JobMetadata(namespace="ns", app_id="id")
    with pytest.raises(names.Wrong, match=r"^unknown job type: <nil>$"):
        names.name_prefix(without)
    without.target.SetInParent()
    with pytest.raises(names.Wrong, match=r"^unknown job type: $"):
        names.query_prefix(without)


@pytest.mark.parametrize("name", ["a", "", "a||b", "..", "A b", "ü", "a%b", '"', "x" * (512 - 13)])
def test_names_that_are_fine(name: str) -> None:
    names.check(f"app||ns||id||{name}")


@pytest.mark.parametrize("letter", ["/", "\\", "#", "?"])
def test_letters_that_no_name_has(letter: str) -> None:
    with pytest.raises(names.Wrong, match=r"must not contain '/', '\\', '#' or '\?'$"):
        names.check(f"app||ns||id||a{letter}b")


@pytest.mark.parametrize("name", ["x" * (513 - 13), "ü" * 250, "/" * 600])
def test_names_have_a_longest_length(name: str) -> None:
    with pytest.raises(names.Wrong, match=r"must be at most 512 characters$"):
        names.check(f"app||ns||id||{name}")


@pytest.mark.parametrize("letter", ["\0", "\n", "\x7f", "\x85"])
def test_control_characters(letter: str) -> None:
    with pytest.raises(names.Wrong, match=r'^job name is invalid "app.*": must not contain control characters$'):
        names.check(f"app||ns||id||a{letter}b")


def test_the_counter_of_a_job() -> None:
    assert names.counter_key("dapr/jobs/app||ns||id||a") == "dapr/counters/app||ns||id||a"
