"""Lines of an app: every byte comes out again, every line is marked."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pydapr.cli.pump import Lines, Pump


def test_lines_are_marked_when_they_are_complete() -> None:
    lines = Lines(b"> ")

    assert lines.feed(b"one\ntw") == b"> one\n"
    assert lines.feed(b"o\n\nthree") == b"> two\n> \n"
    assert lines.end() == b"> three\n"
    assert lines.end() == b""


def test_a_very_long_line_does_not_wait_for_its_end() -> None:
    lines = Lines(b"> ")

    assert lines.feed(b"x" * 2_000_000) == b"> " + b"x" * 2_000_000
    assert lines.feed(b"y" * 100) == b""
    assert lines.end() == b"y" * 100 + b"\n"


def test_a_file_wants_no_colours() -> None:
    assert Lines(b"> ", is_plain=True).feed(b"\x1b[31;1mred\x1b[0m and \x1b[m plain\n") == b"> red and  plain\n"
    assert Lines(b"> ").feed(b"\x1b[31mred\n") == b"> \x1b[31mred\n"


@given(st.lists(st.binary()))
def test_cutting_it_differently_changes_nothing(pieces: list[bytes]) -> None:
    lines = Lines(b"> ")
    out = b"".join([*map(lines.feed, pieces), lines.end()])

    whole = b"".join(pieces)
    expected = [b"> " + line + b"\n" for line in whole.removesuffix(b"\n").split(b"\n")] if whole else []
    assert out == b"".join(expected)


def test_all_targets_get_all_lines(tmp_path: Path) -> None:
    targets = [os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT) for name in "ab"]
    passed_on = Pump(targets, "app == ")
    writer = os.dup(passed_on.writer)
    passed_on.start()

    os.write(writer, b"one\ntwo")
    os.close(writer)

    assert passed_on.finish(10)
    for target in targets:
        os.close(target)
    assert {(tmp_path / name).read_bytes() for name in "ab"} == {b"app == one\napp == two\n"}


def test_a_target_that_takes_nothing_does_not_stop_the_others(tmp_path: Path) -> None:
    reader, broken = os.pipe()
    os.close(reader)
    target = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    passed_on = Pump([broken, target])
    writer = os.dup(passed_on.writer)
    passed_on.start()

    os.write(writer, b"one\n")
    os.close(writer)

    assert passed_on.finish(10)
    for each in (broken, target):
        os.close(each)
    assert (tmp_path / "log").read_bytes() == b"one\n"
