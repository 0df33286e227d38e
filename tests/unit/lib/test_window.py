"""Counts in buckets of time."""

from pydapr.lib.window import Window


def filled(window: Window, *times: int) -> Window:
    for now in times:
        window.at(now).passed += 1
    return window


def test_the_bucket_of_now_counts_and_what_is_older_than_the_interval_does_not() -> None:
    window = filled(Window(20, 10_000), 0, 400, 600, 1100)

    assert window.passed(1100, 1000) == 2
    assert window.passed(999, 1000) == 3
    assert window.passed(1499, 500) == 1
    assert window.passed(1500, 500) == 0


def test_a_bucket_is_emptied_when_its_place_comes_round_again() -> None:
    window = filled(Window(2, 1000), 100, 600, 1100)

    assert window.passed(1100, 1000) == 2
    assert window.at(1100).passed == 1


def test_the_past_can_be_asked_for() -> None:
    window = filled(Window(20, 10_000), 100, 700, 1200, 1300)

    assert window.passed(1300 - 500, 1000) == 2


def test_nothing_is_left_when_cleared() -> None:
    window = filled(Window(1, 1000), 5000)
    window.clear()

    assert window.passed(5000, 1000) == 0
