"""Bodies of reminders and timers, read as Go reads them."""

import pytest

from pydapr.api.http import reminder_bodies
from pydapr.blocks.actors.reminders import Wanted
from pydapr.errors import MalformedRequest
from pydapr.lib.actors import Packed
from pydapr.peers.scheduling import FailurePolicy
from pydapr.wire import anyvalues


def packed(data: bytes) -> Packed:
    return Packed(anyvalues.BYTES, anyvalues.bytes_value(data))


def test_a_reminder_is_read() -> None:
    body = b'{"dueTime":"1s","period":"2s","ttl":"3s","data":{ "a": 1.50 },"overwrite":false}'
    assert reminder_bodies.reminder(body) == Wanted("1s", "2s", "3s", packed(b'{ "a": 1.50 }'), False)


@pytest.mark.parametrize(
    "body",
    [b'{"DUETIME":"1s","x":[1]}', b' \n{"dueTime":"1s"} and more', b'{"dueTime":"1s","overwrite":null,"ttl":null}'],
)
def test_names_are_taken_in_any_case_and_what_is_unknown_is_passed_over(body: bytes) -> None:
    assert reminder_bodies.reminder(body) == Wanted("1s")


@pytest.mark.parametrize("body", [b"{}", b"null", b" {} "])
def test_nothing_is_needed(body: bytes) -> None:
    assert reminder_bodies.reminder(body) == Wanted()
    assert reminder_bodies.timer(body) == reminder_bodies.WantedTimer("", "", "", "", None)


@pytest.mark.parametrize("data", [b"null", b'"text"', b"[]", b"0", '"ü"'.encode()])
def test_data_stay_as_they_are(data: bytes) -> None:
    assert reminder_bodies.timer(b'{"data":%b,"callback":"back"}' % data).data == packed(data)


@pytest.mark.parametrize(
    ("given", "policy"),
    [
        (b'{"drop":{}}', FailurePolicy(True)),
        (b'{"constant":{"interval":"1.5s","maxRetries":2}}', FailurePolicy(False, 1.5, 2)),
        (b'{"constant":{}}', FailurePolicy(False)),
        (b"{}", None),
    ],
)
def test_a_failure_policy_is_read(given: bytes, policy: FailurePolicy | None) -> None:
    for name in (b"failure_policy", b"failurePolicy"):
        assert reminder_bodies.reminder(b'{"%b":%b}' % (name, given)).failure_policy == policy


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "EOF"),
        (b"  ", "EOF"),
        (b"[]", "json: the body must be an object"),
        (b"{", "invalid JSON: "),
        (b'{"dueTime":5}', "json: dueTime must be a string"),
        (b'{"overwrite":"no"}', "json: overwrite must be true or false"),
        (b'{"failure_policy":{"constant":5}}', "failure_policy: "),
        (b'{"failure_policy":5}', "failure_policy: "),
        (b"[" * 10_000, "invalid JSON: "),
    ],
)
def test_what_is_no_reminder_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedRequest) as refusal:
        reminder_bodies.reminder(body)
    assert refusal.value.message.startswith(f"failed deserializing HTTP body: {reason}")
