"""Variables in texts, as Go's os.Expand replaces them."""

import pytest

from pydapr.lib import expand

VARIABLES = {"HOME": "/h", "A_1": "one", "*": "all", "1": "first"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$HOME/x ${HOME}y", "/h/x /hy"),
        ("$A_1-$A_1x", "one-"),
        ("cost: 5$", "cost: 5$"),
        ("$ $. $é", "$ $. $é"),
        ("${}x ${unclosed", "x unclosed"),
        ("$*${*} $12", "allall first2"),
        ("$$HOME", "HOME"),
        ("${NOT SET}", ""),
    ],
)
def test_variables_are_replaced_and_the_unknown_vanish(text: str, expected: str) -> None:
    assert expand.expand(text, VARIABLES) == expected
