"""Go's durations: vectors taken from Go 1.26's time.ParseDuration and Duration.String."""

import pytest

from pydapr.lib import durations

READ = [
    ("0", 0, "0s"),
    ("+5s", 5_000_000_000, "5s"),
    ("-5s", -5_000_000_000, "-5s"),
    ("1h2m3.5s", 3_723_500_000_000, "1h2m3.5s"),
    ("500ms", 500_000_000, "500ms"),
    ("1us", 1_000, "1µs"),
    ("1.s", 1_000_000_000, "1s"),
    (".5s", 500_000_000, "500ms"),
    ("1.5h", 5_400_000_000_000, "1h30m0s"),
    ("3s4ms", 3_004_000_000, "3.004s"),
    ("0.3333333333333333333h", 1_200_000_000_000, "20m0s"),
    ("9223372036854775807ns", 9223372036854775807, "2562047h47m16.854775807s"),
    ("-9223372036854775808ns", -9223372036854775808, "-2562047h47m16.854775808s"),
    ("100ns", 100, "100ns"),
    ("72h", 259_200_000_000_000, "72h0m0s"),
]

REFUSED = [
    ("", 'time: invalid duration ""'),
    ("5", 'time: missing unit in duration "5"'),
    ("foo", 'time: invalid duration "foo"'),
    (".s", 'time: invalid duration ".s"'),
    ("1x", 'time: unknown unit "x" in duration "1x"'),
    ("1h 2m", 'time: unknown unit "h " in duration "1h 2m"'),
    ("9223372036854775808ns", 'time: invalid duration "9223372036854775808ns"'),
    ("99999999999h", 'time: invalid duration "99999999999h"'),
    ("é", 'time: invalid duration "\\xc3\\xa9"'),
]


@pytest.mark.parametrize(("text", "nanoseconds", "shown"), READ)
def test_a_duration_is_read_and_printed_as_go_does(text: str, nanoseconds: int, shown: str) -> None:
    assert durations.nanoseconds(text) == nanoseconds
    assert durations.nanoseconds_text(nanoseconds) == shown


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_a_broken_duration_is_refused_in_gos_words(text: str, words: str) -> None:
    with pytest.raises(ValueError) as refusal:
        durations.parse(text)
    assert str(refusal.value) == words


def test_seconds_are_floats_both_ways() -> None:
    assert durations.parse("1m1.5s") == 61.5
    assert durations.text(61.5) == "1m1.5s"
    assert durations.text(30.0) == "30s"


def test_a_text_as_long_as_a_message_is_read_in_one_go() -> None:
    """Each part was once cut off from the rest, and 4 MB took a quarter of an hour."""
    assert durations.nanoseconds("0s" * 2_000_000) == 0
    assert durations.nanoseconds("0" * 5_000 + "5s") == 5_000_000_000
    with pytest.raises(ValueError, match="time: invalid duration"):
        durations.nanoseconds("1" * 5_000 + "s")
