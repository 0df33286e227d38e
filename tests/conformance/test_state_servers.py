"""What stores on servers do beside the contract: old data, removal of what has ended, several that begin at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from uuid import uuid4

import pytest
from tests.conformance import mysql_servers, postgresql_servers, redis_servers, servers

from pydapr import components
from pydapr.components import state
from pydapr.components.drivers import redis
from pydapr.components.state import Delete, ETagMismatch, Set, StateError, StateStore

SECONDS = 20.0


@contextlib.asynccontextmanager
async def opened(type_: str, metadata: Mapping[str, str]) -> AsyncIterator[StateStore]:
    name, _, version = type_.partition("/")
    found = components.find(name, version)
    assert found is not None
    store = found.make(components.read(found.options, metadata))
    assert isinstance(store, StateStore)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


@pytest.fixture
def key() -> str:
    return f"servers||{uuid4()}"


# -- redis --


def with_redis(**more: str) -> Mapping[str, str]:
    metadata, _ = servers.shared(redis_servers.alone)
    return {**metadata, **more}


@contextlib.asynccontextmanager
async def client() -> AsyncIterator[redis.Server]:
    made = redis.client(redis.settings(components.read(redis.Options, with_redis())))
    assert isinstance(made, redis.Server)
    await made.open()
    yield made
    await made.close()


async def test_plain_value_of_redis_is_read_and_becomes_a_hash(key: str) -> None:
    async with opened("state.redis", with_redis()) as store, client() as direct:
        await direct.run("", [("SET", key, "old")])

        item = await store.get(key)
        assert item is not None
        assert (item.value, item.etag) == (b"old", "")
        await store.set(Set(key, b"new"))
        [found] = await direct.run("", [("HGETALL", key)])
        assert found == [b"data", b"new", b"version", b"1"]


async def test_hash_that_is_no_value_is_an_error(key: str) -> None:
    async with opened("state.redis", with_redis()) as store, client() as direct:
        await direct.run("", [("HSET", key, "other", "1")])

        with pytest.raises(StateError, match="required hash field"):
            await store.get(key)


async def test_key_of_redis_once_written_with_first_write_keeps_wanting_its_etag(key: str) -> None:
    async with opened("state.redis", with_redis()) as store:
        await store.set(Set(key, b"1", concurrency=state.FIRST_WRITE))

        with pytest.raises(StateError, match="first-write") as raised:
            await store.set(Set(key, b"2"))
        assert not isinstance(raised.value, ETagMismatch)
        await store.transact([Delete(key), Set(key, b"3")])
        await store.set(Set(key, b"4"))


async def test_redis_forgets_its_scripts_and_nobody_notices(key: str) -> None:
    async with opened("state.redis", with_redis()) as store, client() as direct:
        await store.set(Set(key, b"1"))
        await direct.run("", [("SCRIPT", "FLUSH")])

        await store.set(Set(key, b"2"))

        item = await store.get(key)
        assert item is not None
        assert item.value == b"2"


async def test_time_to_live_of_the_component_holds_where_a_request_has_none(key: str) -> None:
    async with opened("state.redis", with_redis(ttlInSeconds="1000")) as store:
        await store.set_many([Set(key, b"1"), Set(key + "own", b"1", metadata={"ttlInSeconds": "-1"})])

        ends = [item.metadata for item in await store.get_many([key, key + "own"]) if isinstance(item, state.Item)]
        assert [bool(metadata) for metadata in ends] == [True, False]


# -- tables --

TABLES: Mapping[str, Callable[[str], Mapping[str, str]]] = {
    "state.cockroachdb": lambda name: {**postgresql_servers.cockroach()[0], "tableName": name},
    "state.mysql": lambda name: {**mysql_servers.alone()[0], "schemaName": name},
    "state.postgresql": lambda name: {
        "url": postgresql_servers.url(), "tableName": name, "metadataTableName": f"{name}_about",
    },
    "state.postgresql/v2": lambda name: {
        "url": postgresql_servers.url(), "tablePrefix": f"{name}_", "metadataTableName": f"{name}_about",
    },
}  # fmt: skip


@pytest.fixture
def name() -> str:
    return f"t{uuid4().hex[:12]}"


@pytest.mark.parametrize("type_", TABLES)
async def test_several_that_make_the_tables_at_once_all_can(type_: str, name: str, key: str) -> None:
    metadata = TABLES[type_](name)

    async def write(number: int) -> None:
        async with opened(type_, metadata) as store:
            await store.set(Set(f"{key}-{number}", b"1"))

    await asyncio.gather(*(write(number) for number in range(4)))

    async with opened(type_, metadata) as store:
        assert len((await store.keys(key, limit=10)).keys) == 4


@pytest.mark.parametrize("type_", TABLES)
async def test_what_has_ended_is_removed_in_time(type_: str, name: str, key: str) -> None:
    metadata = {**TABLES[type_](name), "cleanupInterval": "1s"}
    async with opened(type_, metadata) as store:
        await store.set_many([Set(key, b"1", metadata={"ttlInSeconds": "1"}), Set(key + "stays", b"1")])

        def rows() -> str:
            if type_ == "state.mysql":
                return servers.shared(mysql_servers.server).sql("SELECT COUNT(*) FROM state", name)
            database = "cockroach" if type_ == "state.cockroachdb" else "postgres"
            table = f"{name}_state" if type_ == "state.postgresql/v2" else name
            return servers.shared(postgresql_servers.server).sql(f"SELECT COUNT(*) FROM {table}", database)

        async with asyncio.timeout(SECONDS):
            while await asyncio.to_thread(rows) != "1":
                assert await store.get(key + "stays") is not None


async def test_etag_that_does_not_match_costs_mysql_no_connection(name: str, key: str) -> None:
    server = servers.shared(mysql_servers.server)

    def connections() -> int:
        return int(server.sql("SHOW GLOBAL STATUS LIKE 'Connections'").split()[1])

    async with opened("state.mysql", TABLES["state.mysql"](name)) as store:
        await store.set(Set(key, b"1"))
        before = await asyncio.to_thread(connections)
        late: list[Set | Delete] = [Set(key, b"2", etag="other"), Delete(key, etag="other")]
        for operation in late * 3:
            with pytest.raises(ETagMismatch):
                await store.transact([Set(key + "b", b"1"), operation])

        assert await asyncio.to_thread(connections) == before + 1  # who asks is one


@pytest.mark.parametrize("mode", ["NO_BACKSLASH_ESCAPES", "ANSI", "TRADITIONAL"])
async def test_modes_of_mysql_change_nothing_in_keys_and_values(name: str, key: str, mode: str) -> None:
    server = servers.shared(mysql_servers.server)
    before = server.sql("SELECT @@GLOBAL.sql_mode")
    server.sql(f"SET GLOBAL sql_mode = '{mode}'")
    try:
        async with opened("state.mysql", TABLES["state.mysql"](name)) as store:
            for odd in ("back\\slash'", "q'\"uote` OR 1=1 -- ", "\\' OR '1'='1"):
                await store.set(Set(key + odd, odd.encode()))
                item = await store.get(key + odd)
                assert item is not None
                assert item.value == odd.encode()
                assert (await store.keys(key + odd, limit=5)).keys == [key + odd]
    finally:
        server.sql(f"SET GLOBAL sql_mode = '{before}'")


@pytest.mark.parametrize("type_", TABLES)
async def test_database_that_cannot_be_reached_ends_the_start_and_hides_the_password(type_: str) -> None:
    [port] = servers.free_ports(1)
    metadata = {"host": "127.0.0.1", "port": str(port), "user": "me", "password": "hidden", "database": "x"}
    if type_ == "state.mysql":
        metadata = {"connectionString": f"me:hidden@tcp(127.0.0.1:{port})/"}

    with pytest.raises(OSError) as raised:
        async with opened(type_, metadata):
            raise AssertionError("it is open")
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    ("type_", "version"), [("state.postgres", ""), ("state.cockroachdb", "v2"), ("state.yugabytedb", "v2")]
)
def test_other_names_lead_to_the_same_store(type_: str, version: str) -> None:
    found = components.find(type_, version)

    assert found is not None
    assert found.name == ("state.postgresql/v2" if version else "state.postgresql")


# -- etcd --


async def test_etcd_may_come_after_the_sidecar(key: str) -> None:
    [port] = servers.free_ports(1)
    async with opened("state.etcd", {"endpoints": f"127.0.0.1:{port}"}) as store:
        with pytest.raises(StateError):
            await store.get(key)
