"""Items in Redis: what happens when connections are lost."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import pytest
from tests.conformance import redis_servers, servers

from pydapr import components
from pydapr.components import Wrong
from pydapr.components.configuration import ConfigurationError, Item
from pydapr.components.configuration.redis import Redis
from pydapr.components.drivers.redis import Options

Server = tuple[Mapping[str, str], Callable[[], None]]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with redis_servers.alone() as made:
        yield made


@pytest.fixture
async def store(server: Server) -> AsyncIterator[Redis]:
    made = Redis(components.read(Options, server[0]))
    await made.open()
    yield made
    await made.close()


class Told:
    """What a subscription has told."""

    def __init__(self) -> None:
        self.changes: asyncio.Queue[Mapping[str, Item]] = asyncio.Queue()

    async def __call__(self, name: str, items: Mapping[str, Item]) -> None:
        await self.changes.put(items)

    async def next(self) -> Mapping[str, Item]:
        async with asyncio.timeout(20):
            return await self.changes.get()


async def ask(server: Server, *commands: str) -> None:
    words = [servers.program("redis-cli"), "-p", server[0]["redisPort"]]
    lines = "\n".join(commands)
    made = await asyncio.to_thread(subprocess.run, words, input=lines, capture_output=True, text=True, timeout=20)
    assert "ERR" not in made.stdout


async def test_changes_that_nobody_heard_of_are_told_when_the_connection_is_back(server: Server, store: Redis) -> None:
    told = Told()
    await ask(server, "SET missed 0")
    await store.subscribe(["missed", "same"], {}, told)

    await ask(server, "CLIENT KILL TYPE pubsub", "SET missed 1")

    assert await told.next() == {"missed": Item("1")}
    await ask(server, "SET same 2")
    assert await told.next() == {"same": Item("2")}
    assert told.changes.empty()


async def test_a_server_that_starts_again_is_listened_to_again(server: Server, store: Redis) -> None:
    told = Told()
    await store.subscribe([], {}, told)
    await asyncio.to_thread(server[1])

    async with asyncio.timeout(20):
        while told.changes.empty():  # until the component has noticed, changes are told to nobody
            await ask(server, "INCR again")
            await asyncio.sleep(0.05)
    assert list(await told.next()) == ["again"]


async def test_values_of_other_types_are_left_out(server: Server, store: Redis) -> None:
    await ask(server, "FLUSHDB", "RPUSH list x", "SET text x||1||more")

    assert await store.get([], {}) == {"text": Item("x", "1")}
    assert await store.get(["list", "text"], {}) == {"text": Item("x", "1")}


async def test_a_server_that_is_gone_is_an_error_of_the_store() -> None:
    with redis_servers.alone() as (metadata, _):
        store = Redis(components.read(Options, {**metadata, "redisMaxRetries": "0"}))
        await store.open()
    with pytest.raises(ConfigurationError):
        await store.get([], {})
    with pytest.raises(ConfigurationError):
        await store.subscribe(["a"], {}, Told())
    await store.close()


def test_a_cluster_is_refused() -> None:
    with pytest.raises(Wrong, match="cluster"):
        Redis(components.read(Options, {"redisHost": "a:1,b:2", "redisType": "cluster"}))
