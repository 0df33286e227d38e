"""The file of an export, beside what Go writes."""

import pytest

from pydapr.cli import gob

TYPES = bytes.fromhex(
    "2f7f0301010a4578706f727446696c6501ff8000010201044a6f627301ff82000108436f756e7465727301ff820000002"
    "2ff81040101126d61705b737472696e675d5b5d75696e743801ff8200010c010a0000"
)
"""What Go 1.24 writes of the two types in front of the first value."""

EMPTY = TYPES + bytes.fromhex("05ff80010000")
"""The same with no jobs, and without counters."""


def test_types_are_written_as_go_writes_them() -> None:
    assert gob.write({"Jobs": {}, "Counters": {}}).startswith(TYPES)


def test_reads_what_go_has_written() -> None:
    assert gob.read(EMPTY) == {"Jobs": {}}


def test_reads_what_it_has_written() -> None:
    maps = {"Jobs": {"dapr/jobs/a": b"x" * 70_000, "ä": b""}, "Counters": {"dapr/counters/a": bytes(range(256))}}

    assert gob.read(gob.write(maps)) == maps


@pytest.mark.parametrize("length", range(len(EMPTY)))
def test_a_part_of_a_file_is_refused(length: int) -> None:
    with pytest.raises(gob.Malformed):
        gob.read(EMPTY[:length])


@pytest.mark.parametrize("data", [b"hello", b"\xff" * 20, b"\x05\x04\x05\x00"], ids=["text", "noise", "no structure"])
def test_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(gob.Malformed):
        gob.read(data)
