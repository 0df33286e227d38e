"""Servers that are not there, stop in the middle or say what makes no sense: a store tells that, and soon."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from pydapr import components
from pydapr.components.drivers import etcd
from pydapr.components.state import Set, StateError, StateStore, Unavailable, memcached, mongodb, zookeeper
from pydapr.lib import query
from pydapr.net import etcd as etcd_client
from pydapr.net import tasks


def make(type_: str, **metadata: str) -> StateStore:
    name, _, version = type_.partition("/")
    found = components.find(name, version)
    assert found is not None
    store = found.make(components.read(found.options, metadata))
    assert isinstance(store, StateStore)
    return store


@contextlib.asynccontextmanager
async def saying(*answers: bytes) -> AsyncIterator[str]:
    """The address of a server that answers what it is asked with these, and then says nothing more."""
    serving: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for one in answers:
                await reader.read(1000)
                writer.write(one)
            await asyncio.Event().wait()
        finally:
            writer.transport.abort()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(answer(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"{host}:{port}"
    finally:
        server.close()
        await tasks.stop(serving)
        await asyncio.sleep(0)  # transports are gone one step later


SAYS = pytest.mark.parametrize(
    "answers", [(), (b"garbage\r\n",), (b"\x00\x00\x0c",)], ids=["silent", "garbage", "half"]
)


@SAYS
async def test_memcached_that_is_something_else(answers: tuple[bytes, ...]) -> None:
    async with asyncio.timeout(20), saying(*answers) as address:
        store = make("state.memcached", hosts=address, timeout="100")
        with pytest.raises(OSError, match=r"127\.0\.0\.1|protocol"):
            await store.open()
        await store.close()


@SAYS
@pytest.mark.parametrize("type_", ["state.etcd", "state.etcd/v2"])
async def test_etcd_that_is_something_else(
    type_: str, answers: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(etcd_client, "SECONDS", 0.1)
    async with asyncio.timeout(20), saying(*answers) as address:
        store = make(type_, endpoints=address)
        store.scrub = lambda text: text.replace(address, "***")
        await store.open()
        with pytest.raises(Unavailable):
            await store.get("k")
        await store.close()
    told = capfd.readouterr().out
    assert "etcd does not answer at *** yet: " in told and address not in told


async def test_after_an_answer_that_is_no_success_the_connection_is_not_used_again() -> None:
    async with saying(b"VERSION 1\r\n", b"SERVER_ERROR no room\r\n", b"never read\r\n") as address:
        store = make("state.memcached", hosts=address)
        await store.open()
        assert isinstance(store, memcached.Memcached)
        (server,) = store._servers
        assert len(server._idle) == 1

        with pytest.raises(StateError, match="failed to set key k: SERVER_ERROR no room"):
            await store.set(Set("k", b"v"))

        assert not server._idle
        await store.close()


async def test_a_write_goes_to_another_server_after_one_that_did_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_client, "SECONDS", 0.1)
    greeting = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # an empty SETTINGS frame
    async with saying(greeting) as first, saying(greeting) as second:
        store = make("state.etcd", endpoints=f"{first},{second}")
        assert isinstance(store, etcd.EtcdStore)
        await store.open()
        assert store._client is not None
        asked = store._client._endpoints[0]

        with pytest.raises(Unavailable):
            await store.set(Set("k", b"v"))

        assert store._client._endpoints[0] != asked
        await store.close()


async def test_zookeeper_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kazoo")
    monkeypatch.setattr(zookeeper, "SECONDS", 0.2)
    async with asyncio.timeout(30), saying() as address:
        store = make("state.zookeeper", servers=address, sessionTimeout="1s")
        with pytest.raises(OSError, match="no session with ZooKeeper"):
            await store.open()
        await store.close()


@pytest.mark.parametrize("token", ["²", "1" * 30, "x"])
async def test_a_page_that_is_none(token: str) -> None:
    with pytest.raises(StateError, match="is no token of a page"):
        await make("state.mongodb", host="127.0.0.1:1").query(query.Query(None, (), 1, token))


async def test_an_address_that_is_none() -> None:
    pytest.importorskip("pymongo")
    store = make("state.mongodb", connectionString="mongodb://:::")
    assert isinstance(store, mongodb.MongoDB)

    with pytest.raises(OSError, match="error in connecting to mongodb"):
        await store.open()
    await store.close()
