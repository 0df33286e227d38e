"""Statements as asyncmy wants them, and values as an app gets them."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from pydapr.components.bindings import BindingError, mysql


@pytest.mark.parametrize(
    ("sql", "values", "text"),
    [
        ("SELECT ?", [1], "SELECT %s"),
        ("SELECT '?', \"?\", `?`, ? -- ?\n, ?", [1, 2], "SELECT '?', \"?\", `?`, %s -- ?\n, %s"),
        ("SELECT 'it''s ?', 'a\\'?', ? /* ? */ # ?\n", [1], "SELECT 'it''s ?', 'a\\'?', %s /* ? */ # ?\n"),
        ("SELECT ? WHERE a LIKE '%x' AND 5 % 2", [1], "SELECT %s WHERE a LIKE '%%x' AND 5 %% 2"),
        ("SELECT ? - -1", [1], "SELECT %s - -1"),
    ],
)
def test_question_marks_stand_for_values(sql: str, values: list[Any], text: str) -> None:
    assert mysql._statement(sql, values) == (text, values)


def test_a_statement_without_values_stays_as_it_is() -> None:
    assert mysql._statement("SELECT '%' , 5 % 2", []) == ("SELECT '%' , 5 % 2", None)


@pytest.mark.parametrize(("sql", "values"), [("SELECT 1", [1]), ("SELECT ?, ?", [1]), ("SELECT ?", [{}])])
def test_values_that_do_not_fit(sql: str, values: list[Any]) -> None:
    with pytest.raises(BindingError, match="error executing query: sql: "):
        mysql._statement(sql, values)


@pytest.mark.parametrize(
    ("value", "kind", "shown"),
    [
        ('{"a":1}', 245, "eyJhIjoxfQ=="),
        ('{"a":1}', 252, '{"a":1}'),
        (b"\x00\xff", 252, "AP8="),
        (Decimal("1.50"), 246, "1.50"),
        (timedelta(hours=30, minutes=5, seconds=7), 11, "30:05:07"),
        (-timedelta(hours=1), 11, "-01:00:00"),
        (datetime(2024, 1, 2, 3, 4, 5, 600000), 12, "2024-01-02T03:04:05.6Z"),
        (date(2024, 1, 2), 10, "2024-01-02T00:00:00Z"),
        (7, 3, 7),
    ],
)
def test_values_as_they_are_in_json(value: Any, kind: int, shown: object) -> None:
    assert mysql._shown(value, kind) == shown
