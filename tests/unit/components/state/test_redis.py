"""What state.redis says to a server with the modules for JSON and search, and to one with replicas."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.unit.components.drivers import resp

from pydapr import components
from pydapr.components import state
from pydapr.components.state import Delete, Set, StateError, Unavailable
from pydapr.components.state.redis import Options, Redis
from pydapr.lib import query

JSON = {"contentType": "application/json"}
SCHEMA = '[{"name": "people", "indexes": [{"key": "id", "type": "NUMERIC"}]}]'


class Modules:
    """Answers as Redis with modules and one replica does."""

    def __init__(self) -> None:
        self.indexes: set[bytes] = {b"people"}

    def __call__(self, command: list[bytes]) -> resp.Answer:
        match command:
            case [b"INFO", *_]:
                return b"$20\r\nconnected_slaves:1\r\n\r\n"
            case [b"JSON.GET"]:
                return b"-ERR wrong number of arguments\r\n"
            case [b"FT.CREATE", name, *_] if name in self.indexes:
                return b"-Index already exists\r\n"
            case [b"FT.DROPINDEX", name]:
                self.indexes.remove(name)
            case [b"JSON.GET", b"broken"]:
                return b"$1\r\n{\r\n"
            case [b"JSON.GET", b"none"]:
                return b"$-1\r\n"
            case [b"JSON.GET", _]:
                return b'$29\r\n{"data":{"b": 1.0},"version":3}\r\n'.replace(b"$29", b"$31")
            case [b"PTTL", _]:
                return b":-1\r\n"
            case [b"FT.SEARCH", *_]:
                return b"*3\r\n:1\r\n$1\r\nk\r\n" + resp.bulk(b"$.data", b"{}", b"$.version", b"1")
            case [b"EVALSHA", *_]:
                return b":0\r\n"
            case [b"WAIT", *_]:
                return b":1\r\n"
        return b"+OK\r\n"


@pytest.fixture
async def server() -> AsyncIterator[resp.Server]:
    async with resp.serving(Modules()) as one:
        yield one


@pytest.fixture
async def store(server: resp.Server) -> AsyncIterator[Redis]:
    metadata = {"redisHost": f"127.0.0.1:{server.port}", "queryIndexes": SCHEMA, "ttlInSeconds": "60"}
    made = Redis(components.read(Options, metadata))
    await made.open()
    server.seen.clear()
    yield made
    await made.close()


def arguments(server: resp.Server) -> list[bytes]:
    """Those of the one script that has run, from its keys on."""
    [command] = [command for command in server.seen if command[0] == b"EVALSHA"]
    return command[3:]


def test_index_that_is_none_ends_the_start() -> None:
    with pytest.raises(components.Wrong, match="query index schema"):
        Redis(components.read(Options, {"redisHost": "a", "queryIndexes": "{"}))


async def test_server_with_modules_can_be_queried(store: Redis, server: resp.Server) -> None:
    assert state.QUERY_API in store.features

    found = await store.query(query.parse('{"filter": {"EQ": {"id": 1}}}'), metadata={"queryIndexName": "people"})

    assert [(match.key, match.value, match.etag) for match in found.items] == [("k", b"{}", "1")]
    for metadata in ({}, {"queryIndexName": "other"}):
        with pytest.raises(StateError, match="query index"):
            await store.query(query.Query(), metadata=metadata)


async def test_json_is_read_as_a_document(store: Redis) -> None:
    item = await store.get("there", metadata=JSON)

    assert item is not None
    assert (item.value, item.etag) == (b'{"b": 1.0}', "3")
    assert await store.get("none", metadata=JSON) is None
    with pytest.raises(StateError, match="cannot be read"):
        await store.get("broken", metadata=JSON)


async def test_json_is_written_as_a_document(store: Redis, server: resp.Server) -> None:
    await store.transact([Set("a", b"[1]", is_json=True, metadata=JSON), Set("b", b"raw", metadata=JSON), Delete("c")])

    assert arguments(server) == [
        b"a", b"b", b"c",
        b"JS", b"", b'{"data":[1]}', b"0", b"60",
        b"JS", b"", b'{"data":"cmF3"}', b"0", b"60",
        b"D", b"", b"", b"0", b"",
    ]  # fmt: skip


async def test_strong_writes_wait_for_replicas_on_a_connection_of_their_own(store: Redis, server: resp.Server) -> None:
    connections = server.connections
    await asyncio.gather(
        store.set(Set("a", b"1", consistency=state.STRONG)), store.set(Set("b", b"1", consistency=state.EVENTUAL))
    )

    assert connections == 2
    assert [command for command in server.seen if command[0] == b"WAIT"] == [[b"WAIT", b"1", b"1000"]]


@pytest.mark.parametrize(
    ("etag", "concurrency", "sent"),
    [("5", "", b"5"), ("+5", "", b"5"), ("0", "", b""), ("5", "last-write", b""), ("", "", b"")],
)
async def test_etags_are_numbers_as_in_the_original(
    store: Redis, server: resp.Server, etag: str, concurrency: str, sent: bytes
) -> None:
    await store.set(Set("k", b"v", etag=etag, concurrency=concurrency))

    assert arguments(server)[2] == sent


async def test_server_that_is_gone_is_unavailable(store: Redis, server: resp.Server) -> None:
    def hang_up(command: list[bytes]) -> None:
        server.hang_up()

    server.answer = hang_up

    for operation in (store.get("k"), store.set(Set("k", b"1")), store.keys("k", limit=1)):
        with pytest.raises(Unavailable):
            await operation
