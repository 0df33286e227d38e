"""Lines of the app: every byte comes out again, every line is marked."""

from hypothesis import given
from hypothesis import strategies as st

from pydapr.cli.pump import Lines


def test_lines_are_marked_when_they_are_complete() -> None:
    lines = Lines()

    assert lines.feed(b"one\ntw") == b"== APP == one\n"
    assert lines.feed(b"o\n\nthree") == b"== APP == two\n== APP == \n"
    assert lines.end() == b"== APP == three\n"
    assert lines.end() == b""


def test_the_beginning_of_a_line_can_be_shown_before_its_end() -> None:
    lines = Lines()
    lines.feed(b"name: ")

    assert lines.flush() == b"== APP == name: "
    assert lines.flush() == b""
    assert lines.feed(b"bob\nhello\n") == b"bob\n== APP == hello\n"


def test_a_very_long_line_does_not_wait_for_its_end() -> None:
    lines = Lines()

    assert lines.feed(b"x" * 2_000_000) == b"== APP == " + b"x" * 2_000_000
    assert lines.feed(b"y" * 100) == b""
    assert lines.end() == b"y" * 100 + b"\n"


@given(st.lists(st.binary()))
def test_cutting_it_differently_changes_nothing(pieces: list[bytes]) -> None:
    lines = Lines(b"> ")
    out = b"".join([*map(lines.feed, pieces), lines.end()])

    whole = b"".join(pieces)
    expected = [b"> " + line + b"\n" for line in whole.removesuffix(b"\n").split(b"\n")] if whole else []
    assert out == b"".join(expected)
