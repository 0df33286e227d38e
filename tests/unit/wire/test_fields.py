"""Which header sections are well formed."""

import pytest

from pydapr.wire import fields, hpack
from pydapr.wire.fields import Malformed

Headers = hpack.Headers

REQUEST: Headers = ((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a"))
STATUS = (b":status", b"200")


def test_a_request_tells_its_content_length() -> None:
    assert fields.request_length(REQUEST, False) == fields.NO_LENGTH
    assert fields.request_length((*REQUEST, (b"content-length", b"12")), False) == 12


def test_connect_has_an_authority_and_no_more() -> None:
    assert fields.request_length(((b":method", b"CONNECT"), (b":authority", b"a:1")), False) == -1
    with pytest.raises(Malformed):
        fields.request_length(((b":method", b"CONNECT"), *REQUEST[1:]), False)


@pytest.mark.parametrize(
    "extra",
    [
        (b"te", b"trailers"),
        (b"te", b"Trailers"),
        (b"x", b" white space \t"),
        (b"x", b"\xff\x01"),
        (b"x-~^`|!#$%&'*+._", b""),
        (b"n" * 200, b""),
    ],
)
def test_a_field_that_is_unusual_and_allowed_passes(extra: hpack.Header) -> None:
    fields.request_length((*REQUEST, extra), False)


@pytest.mark.parametrize(
    "headers",
    [
        (),
        REQUEST[1:],
        REQUEST[:1] + REQUEST[2:],
        REQUEST[:2] + REQUEST[3:],
        ((b":method", b"G T"), *REQUEST[1:]),
        ((b":method", b""), *REQUEST[1:]),
        (*REQUEST[:2], (b":path", b"")),
        (*REQUEST[:2], (b":path", b"/ HTTP/1.1")),
        (*REQUEST, REQUEST[0]),
        (*REQUEST, STATUS),
        (*REQUEST, (b":protocol", b"websocket")),
        ((b"x", b"y"), *REQUEST),
        ((b"te", b"trailers"), *REQUEST),
        (*REQUEST, (b"X", b"y")),
        (*REQUEST, (b"", b"y")),
        (*REQUEST, (b"x y", b"z")),
        (*REQUEST, (b"x:y", b"z")),
        (*REQUEST, (b"x", b"a\nb")),
        (*REQUEST, (b"x", b"a\rb")),
        (*REQUEST, (b"x", b"a\0b")),
        (*REQUEST, (b"te", b"gzip")),
        (*REQUEST, (b"connection", b"close")),
        (*REQUEST, (b"keep-alive", b"5")),
        (*REQUEST, (b"proxy-connection", b"close")),
        (*REQUEST, (b"transfer-encoding", b"chunked")),
        (*REQUEST, (b"upgrade", b"h2c")),
        (*REQUEST, (b"content-length", b"-1")),
        (*REQUEST, (b"content-length", b"1" * 19)),
        (*REQUEST, (b"content-length", b"1"), (b"content-length", b"2")),
    ],
)
def test_a_request_that_breaks_a_rule_is_malformed(headers: Headers) -> None:
    with pytest.raises(Malformed):
        fields.request_length(headers, False)


def test_the_same_length_twice_is_one_length() -> None:
    assert fields.request_length((*REQUEST, *[(b"content-length", b"7")] * 2), False) == 7


def test_a_response_tells_its_status_and_length() -> None:
    assert fields.response_status((STATUS,), False) == (200, fields.NO_LENGTH)
    assert fields.response_status((STATUS, (b"content-length", b"0")), False) == (200, 0)


@pytest.mark.parametrize("headers", [(), ((b":status", b"20"),), ((b":status", b"0xx"),), (STATUS, STATUS), REQUEST])
def test_a_response_that_breaks_a_rule_is_malformed(headers: Headers) -> None:
    with pytest.raises(Malformed):
        fields.response_status(headers, False)


def test_trailers_have_no_pseudo_header_fields() -> None:
    fields.check_trailers(((b"grpc-status", b"0"),))
    with pytest.raises(Malformed):
        fields.check_trailers((STATUS,))


@pytest.mark.plain
def test_verdicts_are_remembered_by_identity_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "_BOUND", 2)
    for number in range(5):
        request: Headers = (*REQUEST, (b"content-length", b"%d" % number))
        response: Headers = (STATUS, (b"content-length", b"%d" % number))
        for _ in range(2):
            assert fields.request_length(request, True) == number
            assert fields.response_status(response, True) == (200, number)
    assert len(fields._requests) <= 2 and len(fields._responses) <= 2


@pytest.mark.plain
def test_names_are_remembered_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "_NAME_BOUND", 20)
    for number in range(100):
        fields.check_trailers(((b"name-%d" % number, b""),))
    assert len(fields._kinds) <= 20
