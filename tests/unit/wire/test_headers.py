"""Names in three spellings, and which fields go on to the next hop."""

import pytest

from pydapr.wire import headers as names


@pytest.mark.parametrize(
    ("name", "shown"),
    [(b"content-type", b"Content-Type"), (b"ETAG", b"Etag"), (b"x--y", b"X--Y"), (b"", b""), (b"3d-a", b"3d-A")],
)
def test_canonical_case_is_that_of_go(name: bytes, shown: bytes) -> None:
    assert names.canonical(name) == shown and names.lower(shown) == name.lower()


def test_the_memos_stay_small_whatever_comes() -> None:
    for number in range(10_000):
        names.lower(b"N%d" % number)
        names.canonical(b"n%d" % number)
    names.lower(b"X" * 200)
    assert len(names.LOWER) <= 4096 and len(names.CANONICAL) <= 4096 and b"X" * 200 not in names.LOWER


def test_what_concerns_one_hop_stays_there() -> None:
    one_hop = [
        b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te", b"trailer", b"host",
        b"content-length", b"proxy-authorization", b"http2-settings", b"destination-app-id", b"trace-bin",
    ]  # fmt: skip
    assert names.forwardable([(name, b"x") for name in one_hop]) == []


def test_other_fields_go_on_in_their_order() -> None:
    fields = [(b"b", b"1"), (b"a", b"2"), (b"b", b"\xff"), (b"content-type", b"text/plain")]
    assert names.forwardable(fields) == fields
    assert names.forwardable([(b"grpc-timeout", b"1S")]) == [(b"dapr-grpc-timeout", b"1S")]


def test_fields_that_connection_names_stay_too() -> None:
    fields = [(b"connection", b"close, X-One"), (b"x-one", b"1"), (b"connection", b"x-two"), (b"x-two", b"2")]
    assert names.forwardable([*fields, (b"x", b"y")]) == [(b"x", b"y")]
    assert names.named_by_connection(b" a , ,B") == {b"a", b"b"}


def test_clean_values_have_no_line_ends() -> None:
    assert names.is_clean(b"a\tb\xff") and not any(map(names.is_clean, (b"a\rb", b"\n", b"a\0")))


def test_first_finds_the_first() -> None:
    assert names.first([(b"a", b"1"), (b"a", b"2")], b"a") == b"1"
    assert names.first([], b"a") is None
