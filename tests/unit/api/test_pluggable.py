"""Components served at a socket: which one a call means, and what becomes of faults."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import ClassVar

import pytest

from pydapr.api.pluggable import secretstores, serving
from pydapr.components import Part, Wrong
from pydapr.components.drivers import pluggable
from pydapr.components.secretstores import SecretStore, SecretStoreError
from pydapr.errors import Code, RpcError
from pydapr.net import server
from pydapr.proto.dapr.proto.components.v1 import common_pb2, secretstore_pb2

made_parts: list[serving.Parts] = []

Connect = Callable[..., Awaitable[pluggable.Link]]


class Store(SecretStore):
    """Has what its metadata say."""

    opened = 0
    closed: ClassVar[list[str]] = []

    def __init__(self, given: Mapping[str, str]) -> None:
        if "wrong" in given:
            raise Wrong("metadata property wrong: not this")
        self._given = given

    async def open(self) -> None:
        if "unreachable" in self._given:
            raise OSError("nobody is there")
        if "fault" in self._given:
            raise KeyError(self._given["fault"])
        Store.opened += 1

    async def close(self) -> None:
        if "hangs" in self._given:
            await asyncio.Event().wait()
        Store.closed.append(self._given.get("k", ""))

    async def get(self, name: str, metadata: Mapping[str, str]) -> Mapping[str, str]:
        if name == "fault":
            raise KeyError(name)
        if name not in self._given:
            raise SecretStoreError(f"secret {name} not found")
        return {name: self._given[name]}

    async def get_bulk(self, metadata: Mapping[str, str]) -> Mapping[str, Mapping[str, str]]:
        return {}


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """A client with a connection of its own, which has begun with metadata if any are given."""
    folder = tempfile.mkdtemp()
    links: list[pluggable.Link] = []
    Store.opened = 0
    Store.closed.clear()

    def make(given: Mapping[str, str]) -> Part:
        return Store(given)

    parts = serving.Parts(make)
    made_parts.append(parts)
    services = serving.Services(parts)
    secretstores.add(services)
    one = server.Server(services.handler(), server.Options(with_http1=False))
    await one.listen_unix(f"{folder}/s")

    async def made(name: str, **given: str) -> pluggable.Link:
        link = pluggable.Link(f"{folder}/s", name)
        links.append(link)
        if given:
            about = common_pb2.MetadataRequest(properties=given)
            request = secretstore_pb2.SecretStoreInitRequest(metadata=about)
            await link.call("SecretStore", "Init", request, secretstore_pb2.SecretStoreInitResponse)
        return link

    yield made
    for link in links:
        link.close()
    await parts.close()
    await one.stop(0)
    shutil.rmtree(folder)


async def get(link: pluggable.Link, key: str) -> Mapping[str, str]:
    request = secretstore_pb2.GetSecretRequest(key=key)
    return dict((await link.call("SecretStore", "Get", request, secretstore_pb2.GetSecretResponse)).data)


async def test_the_same_metadata_are_one_component(connect: Connect) -> None:
    first, second = await connect("a", k="1"), await connect("a", k="1")

    assert await get(first, "k") == await get(second, "k") == {"k": "1"}
    assert Store.opened == 1


async def test_who_begins_with_other_metadata_has_another_one(connect: Connect) -> None:
    first, second = await connect("a", k="1"), await connect("a", k="2")

    assert (await get(first, "k"), await get(second, "k")) == ({"k": "1"}, {"k": "2"})


async def test_a_connection_that_was_made_again_has_the_only_one_of_its_name(connect: Connect) -> None:
    await connect("a", k="1")
    await connect("b", k="2")

    assert await get(await connect("a"), "k") == {"k": "1"}


async def test_a_connection_that_may_mean_either_is_refused(connect: Connect) -> None:
    await connect("a", k="1")
    await connect("a", k="2")

    with pytest.raises(RpcError, match="several sets of metadata") as caught:
        await get(await connect("a"), "k")
    assert caught.value.code == Code.FAILED_PRECONDITION


@pytest.mark.parametrize(("given", "says"), [("wrong", "property wrong"), ("unreachable", "nobody is there")])
async def test_a_component_that_does_not_open_says_why(connect: Connect, given: str, says: str) -> None:
    with pytest.raises(RpcError, match=says):
        await connect("a", **{given: "x"})


async def test_no_more_than_so_many_components(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST", 2)
    await connect("a", k="1")
    await connect("b", k="1")

    with pytest.raises(RpcError) as caught:
        await connect("c", k="1")
    assert caught.value.code == Code.RESOURCE_EXHAUSTED


async def test_a_component_whose_sidecar_is_gone_makes_room(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST", 2)
    gone = await connect("a", k="1")
    await connect("b", k="1")
    by_name = await connect("b")
    assert await get(by_name, "k") == {"k": "1"}

    gone.close()

    async with asyncio.timeout(10):
        while True:  # until the server has noticed
            try:
                third = await connect("c", k="3")
                break
            except RpcError as error:
                assert error.code == Code.RESOURCE_EXHAUSTED
    assert await get(third, "k") == {"k": "3"}
    assert await get(by_name, "k") == {"k": "1"}
    assert Store.closed == ["1"]


async def test_a_component_that_does_not_close_holds_no_other(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "CLOSE_SECONDS", 0.05)
    await connect("a", k="1", hangs="x")
    await connect("b", k="2")
    parts = made_parts[-1]

    async with asyncio.timeout(10):
        await parts.close()

    assert Store.closed == ["2"]


async def test_an_unexpected_fault_of_opening_is_told_and_not_logged(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RpcError, match="unexpected error: KeyError"):
        await connect("a", fault="hidden-value")
    assert "hidden-value" not in caplog.text


async def test_calls_do_not_queue_for_a_process_that_does_not_begin(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = await connect("a")
    monkeypatch.setattr(pluggable, "CALL_SECONDS", 0.05)

    async def forever() -> None:
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        with pytest.raises(RpcError, match="did not take its metadata") as caught:
            await link.open(forever)
        assert caught.value.code == Code.DEADLINE_EXCEEDED
        several = await asyncio.gather(*[get(link, "k") for _ in range(400)], return_exceptions=True)
    assert all(isinstance(one, RpcError) and one.code == Code.DEADLINE_EXCEEDED for one in several)


async def test_errors_and_faults_are_told(connect: Connect) -> None:
    link = await connect("a", k="1")

    with pytest.raises(RpcError, match="secret other not found"):
        await get(link, "other")
    with pytest.raises(RpcError, match="unexpected error: KeyError"):
        await get(link, "fault")
    assert await get(link, "k") == {"k": "1"}
