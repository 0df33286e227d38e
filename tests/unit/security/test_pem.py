"""PEM texts, as lenient as Go's reader is."""

import base64

from pydapr.security import pem


def test_blocks_come_back_as_they_were_written() -> None:
    content = bytes(range(200))
    text = pem.encode("CERTIFICATE", content)
    assert pem.blocks(b"a comment\n" + text + b"more\n" + pem.encode("X", b"")) == [
        ("CERTIFICATE", content),
        ("X", b""),
    ]
    assert max(map(len, text.splitlines())) == 64


def test_headers_and_line_ends_do_not_matter() -> None:
    text = (
        b"-----BEGIN KEY-----\r\nProc-Type: 4\r\nA: b\r\n\r\n" + base64.b64encode(b"hello") + b"\r\n-----END KEY-----"
    )
    assert pem.blocks(text) == [("KEY", b"hello")]


def test_what_is_not_whole_is_passed_over() -> None:
    good = pem.encode("A", b"x")
    assert pem.blocks(b"-----BEGIN A-----\n?!\n-----END A-----\n" + good) == [("A", b"x")]
    assert pem.blocks(b"-----BEGIN A-----\nAAAA\n-----END B-----\n") == []
    assert pem.blocks(b"") == []
    assert pem.blocks(good.replace(b"BEGIN", b"BEGIN B", 1) + good) == [("A", b"x")]
    assert pem.blocks(b"-----BEGIN A-----\n" + good) == [("A", b"x")]
    assert pem.blocks(b"text" + good) == []


def test_a_hostile_text_costs_no_more_than_its_length() -> None:
    many = b"-----BEGIN A-----\n" * 100_000
    assert pem.blocks(many) == []
    assert pem.blocks(many + b"-----END A-----\n" * 100_000) == [("A", b"")]
