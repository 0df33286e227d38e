"""Text in quotation marks as Go prints it with %q."""

import pytest

from pydapr.lib import quote


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain words", '"plain words"'),
        ('say "no"\\', '"say \\"no\\"\\\\"'),
        ("a\n\t\x01\x7f", '"a\\n\\t\\x01\\x7f"'),
        ("é…\u2028\u00a0", '"é…\\u2028\\u00a0"'),
        ("\U000e0001", '"\\U000e0001"'),
        (b"\xff".decode("utf-8", "surrogateescape"), '"\\xff"'),
    ],
)
def test_what_cannot_be_printed_is_escaped(text: str, quoted: str) -> None:
    assert quote.go(text) == quoted
