"""Requests that match an expression pass, others do not."""

import pytest
from tests.unit.components.middleware.conftest import Asked, End, Passing

from pydapr.components import Wrong
from pydapr.components.middleware.routerchecker import Options, RouterChecker


@pytest.mark.parametrize(
    ("rule", "target", "status"),
    [
        ("^/v1.0/invoke/[a-z]+/method/ok$", b"/v1.0/invoke/shop/method/ok", 200),
        ("^/v1.0/invoke/[a-z]+/method/ok$", b"/v1.0/invoke/shop/method/ok?x=1", 400),
        ("ok", b"/is/ok/too", 200),
        ("^/a b$", b"/a%20b", 400),
        ("", b"/anything", 200),
    ],
)
async def test_rule_decides_on_path_and_query_as_they_came(
    passing: Passing, end: End, rule: str, target: bytes, status: int
) -> None:
    asked = await passing(RouterChecker(Options(rule=rule)), Asked(target))

    assert asked.status == status
    assert bool(end.seen) == (status == 200)
    if status == 400:
        assert (asked.sent, asked.told) == (b"invalid router", {b"content-type": b"text/plain; charset=utf-8"})


def test_rule_that_is_no_expression_is_told() -> None:
    with pytest.raises(Wrong, match="metadata property rule: failed to compile rule regexp"):
        RouterChecker(Options(rule="("))
