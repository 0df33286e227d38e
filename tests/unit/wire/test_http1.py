"""Our readers of HTTP/1.1 against h11: the same messages, however the bytes are cut."""

from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pydapr.wire import http1

TOKEN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!~'*+#$%&^`|"
_OURS = {
    b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect", b"host", b"keep-alive",
    b"proxy-connection",
}  # fmt: skip
NAMES = st.text(TOKEN, min_size=1, max_size=20).map(str.encode).filter(lambda name: name.lower() not in _OURS)
VALUES = st.binary(max_size=30).map(lambda value: bytes(b for b in value if b > 31 and b != 127).strip(b" "))
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=6)
PATHS = st.text(TOKEN + "/?=;:@,()[]", max_size=30).map(lambda path: b"/" + path.replace("#", "").encode())
METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE"])
PIECES = st.lists(st.binary(min_size=1, max_size=40), max_size=4)
CUTS = st.lists(st.integers(0, 2000), max_size=8)


class Written:
    """Writes down what a reader tells."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def head_received(self, reader: Any) -> None:
        what = (reader.method, reader.target) if isinstance(reader, http1.RequestReader) else reader.status
        self.messages.append({"head": what, "headers": list(reader.headers), "body": b"", "ended": False})

    def body_received(self, data: bytes) -> None:
        self.messages[-1]["body"] += data

    def message_ended(self) -> None:
        self.messages[-1]["ended"] = True


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    marks = sorted({min(cut, len(data)) for cut in cuts})
    pieces = [data[start:stop] for start, stop in zip([0, *marks], [*marks, len(data)], strict=True)]
    return [piece for piece in pieces if piece]


def _lower(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in headers]


def _framing(pieces: list[bytes], is_chunked: bool) -> tuple[bytes, bytes]:
    if is_chunked:
        return (b"Transfer-Encoding", b"chunked")
    return (b"Content-Length", b"%d" % sum(map(len, pieces)))


def _encode(peer: h11.Connection, head: Any, pieces: list[bytes]) -> bytes:
    """What h11 makes of a message."""
    out = [peer.send(head), *[peer.send(h11.Data(data=piece)) for piece in pieces], peer.send(h11.EndOfMessage())]
    return b"".join([piece or b"" for piece in out])


@settings(max_examples=200)
@given(st.lists(st.tuples(METHODS, PATHS, HEADERS, PIECES, st.booleans()), min_size=1, max_size=3), CUTS)
def test_requests_of_h11_are_read_as_they_were_meant(requests: list[Any], cuts: list[int]) -> None:
    data, expected = b"", []
    for method, path, headers, pieces, is_chunked in requests:
        fields = [(b"Host", b"here"), *headers, _framing(pieces, is_chunked)]
        data += _encode(h11.Connection(h11.CLIENT), h11.Request(method=method, target=path, headers=fields), pieces)
        meant = {"head": (method, path), "headers": _lower(fields), "body": b"".join(pieces), "ended": True}
        expected.append(meant)
    written = Written()
    reader = http1.RequestReader(written)
    for piece in _cut(data, cuts):
        assert reader.feed(piece) is None
    assert written.messages == expected


@settings(max_examples=200)
@given(st.integers(200, 599), HEADERS, PIECES, st.booleans(), CUTS)
def test_responses_of_h11_are_read_as_they_were_meant(
    status: int, headers: Any, pieces: list[bytes], is_chunked: bool, cuts: list[int]
) -> None:
    if status in (204, 304):
        pieces = []
    fields = [*headers, _framing(pieces, is_chunked and status not in (204, 304))]
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    server.next_event()
    data = server.send(h11.InformationalResponse(status_code=103, headers=headers)) or b""
    data += _encode(server, h11.Response(status_code=status, headers=fields, reason=b"Why"), pieces)
    written = Written()
    reader = http1.ResponseReader(written)
    for piece in _cut(data, cuts):
        reader.feed(piece)
    meant = {"head": status, "headers": _lower(fields), "body": b"".join(pieces), "ended": True}
    assert written.messages == [meant]


@settings(max_examples=100)
@given(METHODS, PATHS, HEADERS)
def test_h11_reads_the_heads_we_write(method: bytes, path: bytes, headers: Any) -> None:
    server = h11.Connection(h11.SERVER)
    server.receive_data(http1.request_head(method, path, _lower([(b"host", b"here"), *headers])))
    event = server.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target) == (method, path)
    assert list(event.headers) == _lower([(b"host", b"here"), *headers])


@settings(max_examples=200)
@given(st.binary(max_size=200), CUTS)
def test_no_bytes_lead_to_another_error_than_ours(data: bytes, cuts: list[int]) -> None:
    for start in (b"", b"POST / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"):
        reader = http1.RequestReader(Written())
        try:
            for piece in _cut(start + data, cuts):
                reader.feed(piece)
        except http1.Malformed as error:
            assert error.status in (400, 417, 431, 501, 505)


def test_a_head_may_be_as_large_as_the_limit_behind_a_body_of_any_size() -> None:
    written = Written()
    reader = http1.RequestReader(written, max_head=100)
    reader.feed(b"POST / HTTP/1.1\r\nContent-Length: 5000\r\n\r\n")
    reader.feed(bytes(5000) + b"GET /a HTTP/1.1\r\nA: ")
    reader.feed(b"b")
    reader.feed(b"c\r\n\r\n")
    assert written.messages[1]["headers"] == [(b"a", b"bc")]


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_head_over_the_limit_is_refused(step: int) -> None:
    head = b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 40 + b"\r\n"
    reader = http1.RequestReader(Written(), max_head=100)
    with pytest.raises(http1.Malformed) as refused:
        for start in range(0, len(head), step):
            reader.feed(head[start : start + step])
    assert refused.value.status == 431


def test_heads_are_written_in_canonical_case_and_one_line_per_field() -> None:
    head = http1.response_head(404, [(b"x-one", b"a\r\nb"), (b"bad name", b"c")], b"")
    assert head == b"HTTP/1.1 404 Not Found\r\nX-One: a  b\r\n\r\n"
    assert http1.response_head(299, [], b"Extra: 1\r\n") == b"HTTP/1.1 299 status code 299\r\nExtra: 1\r\n\r\n"
    assert http1.chunk(b"x" * 17) == b"11\r\n" + b"x" * 17 + b"\r\n"
