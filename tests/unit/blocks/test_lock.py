"""What stands before the names of locks."""

import pytest

from pydapr.blocks import lock


@pytest.mark.parametrize(
    ("strategy", "found"),
    [
        (None, "lock||app||"),
        ("appid", "lock||app||"),
        ("AppID", "lock||app||"),
        ("name", "lock||store||"),
        ("none", "lock||"),
        ("namespace", "lock||namespace||"),
        ("Mine", "lock||mine||"),
    ],
)
def test_prefix(strategy: str | None, found: str) -> None:
    assert lock.prefix(strategy, "store", "app") == found


def test_an_app_without_a_name_has_no_place_of_its_own() -> None:
    assert lock.prefix("appid", "store", "") == "lock||"


def test_bars_are_refused() -> None:
    with pytest.raises(lock.Illegal, match="can't contain"):
        lock.prefix("a||b", "store", "app")
