"""Names of hosts: asked for once at a time, and failures remembered for a moment."""

import asyncio
import socket

import pytest

from pydapr.net import lookup


class System:
    """A resolver that knows `there` and fails otherwise, when it is let."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.now = 100.0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.names = lookup.Names(self.ask, lambda: self.now)

    async def ask(self, host: str, port: int) -> list[lookup.Place]:
        self.asked.append(host)
        await self.may_answer.wait()
        if host == "there":
            return [("10.0.0.1", port), ("10.0.0.2", port), ("10.0.0.1", port)]
        raise socket.gaierror(socket.EAI_NONAME if host == "unknown" else socket.EAI_AGAIN, "Try Again")


@pytest.fixture
async def system() -> System:
    return System()


async def test_addresses_keep_their_order(system: System) -> None:
    assert await system.names.places("there", 80) == [("10.0.0.1", 80), ("10.0.0.2", 80)]


async def test_those_who_ask_together_ask_once(system: System) -> None:
    system.may_answer.clear()
    asking = [asyncio.ensure_future(system.names.places("there", 80)) for _ in range(20)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    system.may_answer.set()

    assert await asyncio.wait_for(asking[1], 5) == await asking[19]
    assert system.asked == ["there"]


@pytest.mark.parametrize(("host", "word"), [("unknown", "no such host"), ("other", "try again")])
async def test_a_failure_names_the_host_and_is_remembered_for_a_moment(system: System, host: str, word: str) -> None:
    for _ in range(3):
        with pytest.raises(lookup.NoSuchHost, match=f"^lookup {host}: {word}$"):
            await system.names.places(host, 80)
    assert system.asked == [host]

    system.now += lookup.FAILED_SECONDS
    with pytest.raises(lookup.NoSuchHost):
        await system.names.places(host, 80)

    assert system.asked == [host, host]


async def test_no_more_than_so_many_failures_are_remembered(system: System) -> None:
    for number in range(lookup.NAMES + 50):
        with pytest.raises(lookup.NoSuchHost):
            await system.names.places(f"host{number}", 80)

    assert len(system.names._failed) == lookup.NAMES
    assert not system.names._asking


async def test_a_name_that_is_none_is_an_error_of_the_name() -> None:
    with pytest.raises(lookup.NoSuchHost, match=r"^lookup a\.\.b: "):
        await asyncio.wait_for(lookup.places("a..b", 80), 30)
