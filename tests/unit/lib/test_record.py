"""Records are frozen values."""

import pytest

from pydapr.lib.record import Record


class Point(Record):
    x: int
    y: int = 0


class Named(Point):
    name: str = "origin"

    @property
    def label(self) -> str:
        return f"{self.name}@{self.x}"


def test_fields_come_by_position_by_name_or_by_default() -> None:
    assert Point(1, y=2) == Point(1, 2) != Point(1)
    assert Named(3).label == "origin@3"
    assert repr(Named(1, 2)) == "Named(x=1, y=2, name='origin')"


def test_a_record_cannot_be_changed_but_replaced() -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match="frozen"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        point.z = 2
    assert point.replace(y=5) == Point(1, 5)
    assert {point: "here"}[Point(1, 0)] == "here"


def test_missing_and_unknown_fields_are_type_errors() -> None:
    with pytest.raises(TypeError, match="lacks 'x'"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no field"):
        Point(1, q=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="takes 2"):
        Point(1, 2, 3)  # type: ignore[call-arg]
