"""A body between the one who feeds it and the one who reads it."""

import asyncio

import pytest

from pydapr.net.body import SMALL, Body, BodyError, Disconnected, TooLarge


class Source:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.consumed: list[int] = []
        self.wanted = 0

    def body_consumed(self, body: Body, size: int) -> None:
        self.consumed.append(size)

    def body_wanted(self, body: Body) -> None:
        self.wanted += 1


async def test_a_reader_gets_what_is_there_and_then_the_end() -> None:
    body = Body(source := Source())
    reading = asyncio.ensure_future(body.read())
    await asyncio.sleep(0)
    body.feed(b"ab")
    body.feed(b"cd")
    assert await reading == b"abcd" and (source.wanted, source.consumed) == (1, [4])
    body.end()
    assert await body.read() == await body.read() == b""


async def test_a_reader_gets_what_came_before_the_error() -> None:
    body = Body()
    body.feed(b"ab")
    body.fail(Disconnected("away"))
    body.feed(b"cd")
    assert await body.read() == b"ab" and not body.is_whole
    with pytest.raises(Disconnected):
        await body.read()


async def test_an_error_after_the_end_is_none() -> None:
    body = Body()
    body.end()
    body.fail(BodyError("late"))
    assert body.is_whole and await body.read_all() == b""


async def test_a_reader_who_gives_up_loses_nothing_for_the_next() -> None:
    body = Body()
    reading = asyncio.ensure_future(body.read())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.sleep(0)
    body.feed(b"ab")
    assert await body.read() == b"ab"


async def test_a_limit_counts_what_is_here_and_what_comes() -> None:
    body = Body()
    body.feed(b"1234")
    body.limit(6)
    body.feed(b"56")
    body.feed(b"7")
    assert await body.read() == b"123456"
    with pytest.raises(TooLarge, match="stream too large"):
        await body.read()


@pytest.mark.parametrize("body", [Body(length=7), Body.of(b"1234567")])
async def test_a_limit_below_the_announced_length_is_known_at_once(body: Body) -> None:
    body.limit(7)
    with pytest.raises(TooLarge):
        body.limit(6)


async def test_a_body_nobody_wants_wakes_its_reader_and_drops_the_rest() -> None:
    body = Body(source := Source())
    reading = asyncio.ensure_future(body.read())
    await asyncio.sleep(0)
    body.discard()
    body.feed(b"ab")
    with pytest.raises(Disconnected):
        await reading
    assert body.buffered == 0 and source.consumed == []


async def test_a_large_rest_is_reported_though_the_body_has_ended() -> None:
    body = Body(source := Source())
    body.feed(bytes(SMALL + 1))
    body.end()
    assert len(body.take()) == SMALL + 1 and source.consumed == [SMALL + 1]


async def test_a_whole_body_answers_without_waiting() -> None:
    body = Body.of(b"ab")
    assert body.is_whole and body.whole() == b"ab" and body.buffered == body.length == 2
    assert await body.read() == b"ab"
    assert await body.read() == b"" and body.take() == b"" and body.buffered == 0
    body.discard()
    assert body.is_whole
    fed = Body()
    for piece in (b"a", b"b"):
        fed.feed(piece)
    fed.end()
    assert fed.whole() == fed.whole() == fed.take() == b"ab"
