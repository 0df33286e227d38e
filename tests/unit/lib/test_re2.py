"""Expressions as Go reads them."""

import pytest

from pydapr.lib import re2


@pytest.mark.parametrize(
    ("expression", "text", "matches"),
    [
        ("^/a/[a-z]+$", "/a/bc", True),
        ("^/a$", "/a\n", False),
        ("(?m)^a$", "b\na\nc", True),
        (r"a\z", "a\n", False),
        ("[[:alpha:]]+[[:digit:]]", "x1", True),
        ("^[[:alpha:]]+$", "é", False),
        (r"^\d$", "٣", False),
        (r"\Qa.b\E", "axb", False),
        (r"\Qa.b\E", "a.b", True),
        (r"(?<name>x)", "x", True),
        (r"(?P<name>x)", "x", True),
        (r"\x{41}", "A", True),
        (r"[\x{41}-\x{43}]", "B", True),
        ("(?i)ABC", "abc", True),
        ("(?i:a)B", "aB", True),
        ("[]a]", "]", True),
        ("[^]a]", "]", False),
        ("[a&&b]", "&", True),
        ("[a||b]", "|", True),
        ("a{2}", "aa", True),
        ("", "anything", True),
        (r"\$", "$", True),
        ("[$]$", "a$", True),
    ],
)
def test_expression_matches_what_it_matches_in_go(expression: str, text: str, matches: bool) -> None:
    assert (re2.compile(expression).search(text) is not None) is matches


@pytest.mark.parametrize(
    "expression",
    [
        r"(a)\1",
        "(?=a)",
        "(?!a)",
        "(?<=a)",
        "(?<!a)",
        "a++",
        "(?>a)",
        r"\pL",
        "(?U)a+",
        "a(?i)b",
        "[a",
        "(",
        "*",
        "[[:nix:]]",
    ],
)
def test_expression_that_python_would_read_otherwise_is_refused(expression: str) -> None:
    with pytest.raises(re2.Unusable, match="error parsing regexp"):
        re2.compile(expression)
