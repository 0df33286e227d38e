"""The body of a call between sidecars, however its messages are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydapr.errors import Code, RpcError
from pydapr.net.body import Body, BodyError, Disconnected
from pydapr.peers.payloads import Payloads
from pydapr.wire import grpc, invocation


def _nothing() -> None: ...


def _frames(*pieces: bytes, start: int = 1) -> bytes:
    return b"".join([invocation.stream_frame(b"", piece, number) for number, piece in enumerate(pieces, start)])


def _source(data: bytes, step: int = 1000) -> Body:
    body = Body()
    for at in range(0, len(data), step):
        body.feed(data[at : at + step])
    body.end()
    return body


def _payloads(data: bytes, first: bytes = b"0", length: int | None = None) -> Payloads:
    reader = grpc.MessageReader(1 << 20)
    return Payloads(_source(data), reader, (first, 0), [], _nothing, length)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.integers(1, 40), st.integers(0, 4))
async def test_the_body_is_the_same_however_it_arrives(pieces: list[bytes], step: int, early: int) -> None:
    reader = grpc.MessageReader(1 << 20)
    later = [reader.feed(_frames(piece, start=at + 1))[0] for at, piece in enumerate(pieces[:early])]
    source = _source(_frames(*pieces[early:], start=early + 1) if pieces[early:] else b"", step)
    body = Payloads(source, reader, (b"0", 0), later, _nothing)
    assert await body.read_all() == b"0" + b"".join(pieces)
    assert body.is_whole


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (_frames(b"a", start=2), "invalid sequence number received: 2 (expected: 1)"),
        (_frames(b"a", b"b", b"c")[:-4], "unexpected EOF"),
        (invocation.stream_frame(b"\x08\x01", b"a", 1), "metadata found in non-leading chunk"),
        (grpc.frame(b"\xff"), "error receiving message"),
        (b"\x07\0\0\0\0", "error receiving message"),
        (grpc.frame(bytes(2 << 20)), "larger than max"),
    ],
)
async def test_what_breaks_the_rules_fails_the_body_behind_what_came_before(data: bytes, reason: str) -> None:
    body = _payloads(data)
    assert await body.read() == b"0"
    with pytest.raises(BodyError) as failed:
        await body.read_all()
    assert reason in str(failed.value) and not body.is_whole


async def test_messages_beside_the_leading_one_keep_the_same_rules() -> None:
    for message in (b"\x0a\x02\x08\x01", b"\x12\x03\x0a\x01a", b"\xff"):
        body = Payloads(_source(b""), grpc.MessageReader(100), (b"0", 0), [message], _nothing)
        with pytest.raises(BodyError):
            await body.read_all()


async def test_a_call_that_fails_at_its_end_fails_the_body() -> None:
    def at_end() -> None:
        raise RpcError(Code.UNAVAILABLE, "gone")

    body = Payloads(_source(b""), grpc.MessageReader(100), (b"0", 0), [], at_end)
    assert await body.read() == b"0"
    with pytest.raises(BodyError, match="code = Unavailable desc = gone"):
        await body.read()


@pytest.mark.parametrize("length", [2, 4])
async def test_a_body_of_another_length_than_promised_fails_and_shows_no_more_of_it(length: int) -> None:
    body = _payloads(_frames(b"1", b"2"), length=length)
    got = []
    with pytest.raises(BodyError, match="than its Content-Length"):
        while data := await body.read():
            got.append(data)
    assert len(b"".join(got)) <= length


async def test_a_source_that_breaks_fails_the_body() -> None:
    source = Body()
    source.fail(Disconnected("away"))
    with pytest.raises(Disconnected, match="away"):
        await Payloads(source, grpc.MessageReader(100), (None, 0), [], _nothing).read()
