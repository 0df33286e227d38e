"""Bodies in upper case."""

import pytest
from tests.unit.components.middleware.conftest import Asked, End, Passing

from pydapr.components.middleware.uppercase import Options, Uppercase
from pydapr.net.body import Body, TooLarge


async def test_body_of_the_request_is_changed_by_default(passing: Passing) -> None:
    asked = await passing(Uppercase(Options()), Asked(body="grüße".encode()))

    assert asked.sent == "GRÜßE".encode()


async def test_body_of_the_answer_is_changed_when_asked_for(passing: Passing, end: End) -> None:
    asked = await passing(Uppercase(Options(direction="Response")), Asked(body=b"hello"))

    assert asked.sent == b"HELLO"
    assert end.seen[0].body.is_whole


async def test_letter_that_is_cut_in_two_stays_whole(passing: Passing) -> None:
    asked, body = Asked(), Body()
    asked.body = body
    for piece in (b"a\xc3", b"\xa4b"):
        body.feed(piece)
    body.end()

    await passing(Uppercase(Options()), asked)

    assert asked.sent == "AÄB".encode()


async def test_limit_holds_behind_it(end: End) -> None:
    asked = Asked(body=b"hello")

    async def limited(exchange: object) -> None:
        asked_behind = end.seen[0]
        with pytest.raises(TooLarge):
            asked_behind.body.limit(4)

    async def both(exchange: object) -> None:
        end.seen.append(exchange)  # type: ignore[arg-type]
        await limited(exchange)

    await Uppercase(Options()).wrap(both)(asked)
