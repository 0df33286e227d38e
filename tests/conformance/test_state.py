"""Every state store runs through these cases; a new one needs its entry in `STORES`.

What a store does not list among its features is skipped for it. A store with a server of its own is given by a context
manager that starts the server and yields how to reach and restart it.
"""

import asyncio
import contextlib
import datetime
import functools
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from tests.conformance import message_servers, mysql_servers, postgresql_servers, redis_servers, servers, store_servers

from pydapr import components
from pydapr.components import state
from pydapr.components.state import Delete, ETagInvalid, ETagMismatch, Item, Set, StateError, StateStore
from pydapr.lib import query

SECONDS = 20.0
"""How long anything may take that does not happen at once."""


@dataclass
class Ready:
    """A store that can be opened. `restart` ends its server and starts it again with what it had."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    restart: Callable[[], Awaitable[None]] | None = None
    is_durable: bool = True
    """Whether what was written is there for whoever opens the store next."""

    keys: re.Pattern[str] = re.compile(r"(?s:.*)\Z")
    """Which keys it takes."""

    minds_etag_of_none: bool = True
    """Whether it refuses a write with the ETag of a key that is not there; the original's Redis and MongoDB take it."""

    tells_end: bool = True
    """Whether it knows when a value ends."""


Serve = Callable[[Path], contextlib.AbstractContextManager[Ready]]
"""Makes a store ready, with a folder for its files; raises `pytest.skip` where its server is not at hand."""


@contextlib.contextmanager
def in_memory(folder: Path) -> Iterator[Ready]:
    yield Ready(is_durable=False)


@contextlib.contextmanager
def sqlite(folder: Path) -> Iterator[Ready]:
    yield Ready({"connectionString": str(folder / "state.db")})


@contextlib.contextmanager
def sqlite_without_wal(folder: Path) -> Iterator[Ready]:
    yield Ready({"connectionString": f"file:{folder}/state.db", "disableWAL": "true", "tableName": "other"})


@contextlib.contextmanager
def sqlite_in_memory(folder: Path) -> Iterator[Ready]:
    yield Ready({"connectionString": ":memory:"}, is_durable=False)


def _served(metadata: Mapping[str, str], restart: Callable[[], None]) -> Ready:
    return Ready(metadata, functools.partial(asyncio.to_thread, restart))


def _lenient(metadata: Mapping[str, str], restart: Callable[[], None]) -> Ready:
    ready = _served(metadata, restart)
    ready.minds_etag_of_none = False
    return ready


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[Ready]:
    yield _lenient(*servers.shared(redis_servers.alone))


@contextlib.contextmanager
def redis_with_tls(folder: Path) -> Iterator[Ready]:
    yield _lenient(*servers.shared(redis_servers.with_tls))


@contextlib.contextmanager
def redis_with_sentinel(folder: Path) -> Iterator[Ready]:
    yield _lenient(*servers.shared(redis_servers.with_sentinel))


@contextlib.contextmanager
def redis_cluster(folder: Path) -> Iterator[Ready]:
    yield _lenient(*servers.shared(redis_servers.cluster))


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[Ready]:
    yield _served(*postgresql_servers.first_version())


@contextlib.contextmanager
def postgresql_v2(folder: Path) -> Iterator[Ready]:
    yield _served(*postgresql_servers.second_version())


@contextlib.contextmanager
def postgresql_as_cockroach(folder: Path) -> Iterator[Ready]:
    yield _served(*postgresql_servers.cockroach())


@contextlib.contextmanager
def mariadb(folder: Path) -> Iterator[Ready]:
    yield _served(*mysql_servers.alone())


@contextlib.contextmanager
def etcd(folder: Path) -> Iterator[Ready]:
    ready = _served(*servers.shared(store_servers.etcd))
    ready.tells_end = False
    yield ready


@contextlib.contextmanager
def etcd_v2(folder: Path) -> Iterator[Ready]:
    metadata, restart = servers.shared(store_servers.etcd)
    yield _served({**metadata, "keyPrefixPath": "second"}, restart)


@contextlib.contextmanager
def memcached(folder: Path) -> Iterator[Ready]:
    ready = _served(*servers.shared(store_servers.memcached))
    ready.tells_end, ready.keys = False, re.compile(r"[^\x00-\x20\x7f]{1,249}\Z")
    yield ready


@contextlib.contextmanager
def mongodb(folder: Path) -> Iterator[Ready]:
    yield _lenient(*servers.shared(store_servers.mongodb))


@contextlib.contextmanager
def zookeeper(folder: Path) -> Iterator[Ready]:
    ready = _served(*servers.shared(store_servers.zookeeper))
    ready.keys = re.compile(r"[^\x00-\x1f\ud800-\U0010ffff]*\Z")
    yield ready


@contextlib.contextmanager
def nats(folder: Path) -> Iterator[Ready]:
    metadata, restart = message_servers.bucket()
    keys = re.compile(r"[-/_=.a-zA-Z0-9|]*[-/_=a-zA-Z0-9]\Z")
    yield Ready(metadata, functools.partial(asyncio.to_thread, restart), keys=keys)


STORES: dict[str, Sequence[Serve]] = {
    "state.cockroachdb": [postgresql_as_cockroach],
    "state.etcd": [etcd],
    "state.etcd/v2": [etcd_v2],
    "state.in-memory": [in_memory],
    "state.jetstream": [nats],
    "state.memcached": [memcached],
    "state.mongodb": [mongodb],
    "state.mysql": [mariadb],
    "state.postgresql": [postgresql],
    "state.postgresql/v2": [postgresql_v2],
    "state.redis": [redis, redis_with_tls, redis_with_sentinel, redis_cluster],
    "state.sqlite": [sqlite, sqlite_without_wal, sqlite_in_memory],
    "state.zookeeper": [zookeeper],
}
CASES = [pytest.param(type_, serve, id=f"{type_}-{serve.__name__}") for type_, all_ in STORES.items() for serve in all_]
pytestmark = pytest.mark.parametrize(("type_", "serve"), CASES)


@pytest.fixture
def ready(serve: Serve, tmp_path: Path) -> Iterator[Ready]:
    with serve(tmp_path) as one:
        yield one


@pytest.fixture
async def store(type_: str, ready: Ready) -> AsyncIterator[StateStore]:
    made = make(type_, ready)
    await made.open()
    yield made
    await made.close()


def make(type_: str, ready: Ready) -> StateStore:
    name, _, version = type_.partition("/")
    found = components.find(name, version)
    assert found is not None
    made = found.make(components.read(found.options, ready.metadata))
    assert isinstance(made, StateStore)
    return made


@pytest.fixture
def key() -> str:
    """A key that no other case uses, on servers that all share."""
    return f"conformance||{uuid4()}"


def needs(store: StateStore, feature: str) -> None:
    if feature not in store.features:
        pytest.skip(f"the store does not have {feature}")


async def read(store: StateStore, key: str) -> Item:
    item = await store.get(key)
    assert item is not None, f"{key} is not there"
    return item


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = SECONDS) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while not await condition():
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.02)


# -- set, get, delete --


async def test_value_is_given_back_as_it_was_written(store: StateStore, key: str) -> None:
    await store.set(Set(key, b'{"name": "first"}', is_json=True))

    assert json.loads((await read(store, key)).value) == {"name": "first"}


@pytest.mark.parametrize(
    "document",
    [b"1", b"-1.5", b"true", b"null", b'""', b'"text"', b"[]", b'[{"a":[1,2]}]', b"{}", '"grüße 🎈"'.encode()],
    ids=str,
)
async def test_every_kind_of_json_is_kept(store: StateStore, key: str, document: bytes) -> None:
    await store.set(Set(key, document, is_json=True))

    assert json.loads((await read(store, key)).value) == json.loads(document)


@pytest.mark.parametrize("value", [b"plain", b"\x00\xff\x80bytes\r\n", b"null", b'{"a":1}', bytes(range(256))], ids=str)
async def test_bytes_are_kept_as_they_are(store: StateStore, key: str, value: bytes) -> None:
    await store.set(Set(key, value))

    assert (await read(store, key)).value == value


async def test_write_replaces_what_was_there(store: StateStore, key: str) -> None:
    await store.set(Set(key, b'"long first value"', is_json=True))
    await store.set(Set(key, b"2"))

    assert (await read(store, key)).value == b"2"


async def test_key_that_is_not_there_has_nothing(store: StateStore, key: str) -> None:
    assert await store.get(key) is None


async def test_deleted_key_is_gone_and_may_be_deleted_again(store: StateStore, key: str) -> None:
    await store.set(Set(key, b"1", is_json=True))

    await store.delete(Delete(key))
    await store.delete(Delete(key))

    assert await store.get(key) is None


@pytest.mark.parametrize(
    "odd",
    [
        "with blank", "slash/and\\backslash", "quote'\"`", "percent%20_like%", "dots..", "[1]{2}*?", "line\nbreak",
        "ünïcode-🎈", "CaSe", "colon:semi;", "a" * 200, "-- drop", "$1 ? :name", "null", "0",
    ],
)  # fmt: skip
async def test_odd_keys_are_keys_like_others(store: StateStore, ready: Ready, key: str, odd: str) -> None:
    odd = key + odd
    if not ready.keys.match(odd):
        with pytest.raises(StateError, match="key"):
            await store.set(Set(odd, b"1"))
        return
    await store.set(Set(odd, b'"odd"', is_json=True))

    assert (await read(store, odd)).value == b'"odd"'
    assert await store.get(odd + "x") is None
    await store.delete(Delete(odd))
    assert await store.get(odd) is None


async def test_keys_differ_by_case(store: StateStore, key: str) -> None:
    await store.set(Set(key + "a", b"1", is_json=True))
    await store.set(Set(key + "A", b"2", is_json=True))

    assert (await read(store, key + "a")).value == b"1"


@pytest.mark.parametrize("size", [70_000, 900_000])
async def test_large_value_is_kept(store: StateStore, key: str, size: int) -> None:
    value = bytes(range(1, 256)) * (size // 255)
    await store.set(Set(key, value))

    assert (await read(store, key)).value == value


# -- many at once --


async def test_many_are_written_read_and_deleted(store: StateStore, key: str) -> None:
    names = [f"{key}-{number}" for number in range(25)]
    assert not any(await store.set_many([Set(name, name.encode()) for name in names]))

    found = await store.get_many([*names, key + "-none"], parallelism=3)
    assert [item.value if isinstance(item, Item) else item for item in found] == [*map(str.encode, names), None]

    assert not any(await store.delete_many([Delete(name) for name in names]))
    assert list(await store.get_many(names)) == [None] * len(names)


async def test_same_key_twice_is_read_twice(store: StateStore, key: str) -> None:
    await store.set(Set(key, b"1", is_json=True))

    found = await store.get_many([key, key])

    assert [item.value for item in found if isinstance(item, Item)] == [b"1", b"1"]


async def test_one_of_many_that_fails_leaves_the_others(store: StateStore, key: str) -> None:
    needs(store, state.ETAG)
    await store.set(Set(key + "old", b"1", is_json=True))
    etag = (await read(store, key + "old")).etag
    await store.set(Set(key + "old", b"2", is_json=True))

    first, second = await store.set_many([Set(key + "old", b"3", etag=etag), Set(key + "new", b"4")])

    assert isinstance(first, ETagMismatch)
    assert second is None
    assert (await read(store, key + "old")).value == b"2"
    assert (await read(store, key + "new")).value == b"4"


# -- etags --


async def test_etag_changes_with_every_write(store: StateStore, key: str) -> None:
    needs(store, state.ETAG)
    await store.set(Set(key, b"1", is_json=True))
    first = (await read(store, key)).etag
    await store.set(Set(key, b"1", is_json=True))
    second = (await read(store, key)).etag

    assert first
    assert second not in ("", first)
    [item] = await store.get_many([key])
    assert isinstance(item, Item)
    assert item.etag == second


async def test_write_and_delete_with_the_etag_succeed(store: StateStore, key: str) -> None:
    needs(store, state.ETAG)
    await store.set(Set(key, b"1", is_json=True))
    await store.set(Set(key, b"2", is_json=True, etag=(await read(store, key)).etag))
    assert (await read(store, key)).value == b"2"

    await store.delete(Delete(key, etag=(await read(store, key)).etag))
    assert await store.get(key) is None


async def test_old_etag_changes_nothing(store: StateStore, key: str) -> None:
    needs(store, state.ETAG)
    await store.set(Set(key, b"1", is_json=True))
    old = (await read(store, key)).etag
    await store.set(Set(key, b"2", is_json=True))

    with pytest.raises(ETagMismatch, match="possible etag mismatch"):
        await store.set(Set(key, b"3", is_json=True, etag=old))
    with pytest.raises(ETagMismatch):
        await store.delete(Delete(key, etag=old))
    assert (await read(store, key)).value == b"2"


async def test_etag_that_never_was_is_refused(store: StateStore, key: str) -> None:
    needs(store, state.ETAG)
    await store.set(Set(key, b"1", is_json=True))

    for operation in (store.set(Set(key, b"2", is_json=True, etag="bad-etag")), store.delete(Delete(key, etag="no'"))):
        with pytest.raises((ETagMismatch, ETagInvalid)):
            await operation
    assert (await read(store, key)).value == b"1"


async def test_etag_of_a_key_that_is_gone(store: StateStore, ready: Ready, key: str) -> None:
    needs(store, state.ETAG)
    await store.set(Set(key, b"1", is_json=True))
    etag = (await read(store, key)).etag
    await store.delete(Delete(key))

    if not ready.minds_etag_of_none:
        await store.set(Set(key, b"2", is_json=True, etag=etag))
        assert (await read(store, key)).value == b"2"
        return
    with pytest.raises(ETagMismatch):
        await store.set(Set(key, b"2", is_json=True, etag=etag))
    assert await store.get(key) is None


async def test_first_write_wins(store: StateStore, key: str) -> None:
    needs(store, state.ETAG)
    await store.set(Set(key, b"1", is_json=True, concurrency=state.FIRST_WRITE))

    with pytest.raises(ETagMismatch):
        await store.set(Set(key, b"2", is_json=True, concurrency=state.FIRST_WRITE))
    etag = (await read(store, key)).etag
    await store.set(Set(key, b"3", is_json=True, concurrency=state.FIRST_WRITE, etag=etag))
    with pytest.raises(ETagMismatch):
        await store.set(Set(key, b"4", is_json=True, concurrency=state.FIRST_WRITE, etag=etag))
    assert (await read(store, key)).value == b"3"


async def test_first_write_may_follow_a_delete(store: StateStore, key: str) -> None:
    needs(store, state.ETAG)
    await store.set(Set(key, b"1", is_json=True, concurrency=state.FIRST_WRITE))
    await store.delete(Delete(key))

    await store.set(Set(key, b"2", is_json=True, concurrency=state.FIRST_WRITE))

    assert (await read(store, key)).value == b"2"


async def test_of_many_first_writes_at_once_one_wins(store: StateStore, key: str) -> None:
    needs(store, state.ETAG)
    writes = [store.set(Set(key, b"%d" % n, is_json=True, concurrency=state.FIRST_WRITE)) for n in range(10)]

    outcomes = await asyncio.gather(*writes, return_exceptions=True)

    assert outcomes.count(None) == 1
    assert all(isinstance(outcome, ETagMismatch) for outcome in outcomes if outcome is not None)
    assert (await read(store, key)).value == b"%d" % outcomes.index(None)


async def test_counters_under_etags_lose_no_step(store: StateStore, key: str) -> None:
    needs(store, state.ETAG)
    await store.set(Set(key, b"0", is_json=True))

    async def step() -> None:
        while True:
            item = await read(store, key)
            with contextlib.suppress(ETagMismatch):
                await store.set(Set(key, b"%d" % (int(item.value) + 1), is_json=True, etag=item.etag))
                return

    async with asyncio.timeout(SECONDS):
        await asyncio.gather(*(step() for _ in range(20)))

    assert (await read(store, key)).value == b"20"


# -- transactions --


async def test_transaction_does_all_in_order(store: StateStore, key: str) -> None:
    needs(store, state.TRANSACTIONAL)
    await store.set(Set(key + "gone", b"1", is_json=True))

    await store.transact(
        [
            Set(key + "a", b"1", is_json=True),
            Set(key + "b", b"\x00bytes"),
            Delete(key + "gone"),
            Set(key + "a", b"2", is_json=True),
            Set(key + "c", b"3", is_json=True),
            Delete(key + "c"),
            Delete(key + "never"),
        ]
    )

    names = [key + name for name in ("a", "b", "gone", "c")]
    found = await store.get_many(names)
    assert [item.value if isinstance(item, Item) else item for item in found] == [b"2", b"\x00bytes", None, None]


async def test_transaction_that_fails_does_nothing(store: StateStore, key: str) -> None:
    needs(store, state.TRANSACTIONAL)
    needs(store, state.ETAG)
    await store.set(Set(key + "a", b"1", is_json=True))
    old = (await read(store, key + "a")).etag
    await store.set(Set(key + "a", b"2", is_json=True))

    with pytest.raises(StateError):
        await store.transact([Set(key + "b", b"3"), Delete(key + "a", etag=old), Set(key + "c", b"4")])

    found = await store.get_many([key + "a", key + "b", key + "c"])
    assert [item.value if isinstance(item, Item) else item for item in found] == [b"2", None, None]


async def test_transaction_heeds_etags_and_first_write(store: StateStore, key: str) -> None:
    needs(store, state.TRANSACTIONAL)
    needs(store, state.ETAG)
    await store.transact([Set(key, b"1", is_json=True, concurrency=state.FIRST_WRITE)])
    await store.transact([Set(key, b"2", is_json=True, etag=(await read(store, key)).etag)])

    with pytest.raises(StateError):
        await store.transact([Set(key, b"3", is_json=True, concurrency=state.FIRST_WRITE), Set(key + "b", b"4")])
    assert (await read(store, key)).value == b"2"
    assert await store.get(key + "b") is None


async def test_no_one_sees_half_a_transaction(store: StateStore, key: str) -> None:
    needs(store, state.TRANSACTIONAL)
    names = [f"{key}-{number}" for number in range(4)]
    await store.transact([Set(name, b"0", is_json=True) for name in names])

    async def write() -> None:
        for number in range(1, 15):
            await store.transact([Set(name, b"%d" % number, is_json=True) for name in names])

    writing = asyncio.create_task(write())
    while not writing.done():
        # Read backwards, so that a transaction between two reads can only show the later key as older.
        seen = [int((await read(store, name)).value) for name in (names[-1], names[0])]
        assert seen[0] <= seen[1]
        await asyncio.sleep(0)
    await writing


# -- time to live --


async def test_value_ends_with_its_time(store: StateStore, key: str) -> None:
    needs(store, state.TTL)
    await store.set(Set(key, b"1", is_json=True, metadata={"ttlInSeconds": "1"}))
    assert (await read(store, key)).value == b"1"

    async def is_gone() -> bool:
        return await store.get(key) is None and list(await store.get_many([key])) == [None]

    await until(is_gone)
    with contextlib.suppress(AttributeError):
        needs(store, state.ETAG)
        await store.set(Set(key, b"2", is_json=True, concurrency=state.FIRST_WRITE))
        assert (await read(store, key)).value == b"2"


async def test_end_of_a_value_is_told(store: StateStore, ready: Ready, key: str) -> None:
    needs(store, state.TTL)
    if not ready.tells_end:
        pytest.skip("the store does not know")
    before = datetime.datetime.now(datetime.UTC)
    await store.set(Set(key, b"1", is_json=True, metadata={"ttlInSeconds": "1000"}))

    [listed] = await store.get_many([key])
    assert isinstance(listed, Item)
    for item in (await read(store, key), listed):
        text = item.metadata["ttlExpireTime"]
        assert text.endswith("Z")
        end = datetime.datetime.fromisoformat(text)
        assert abs((end - before).total_seconds() - 1000) < 10


@pytest.mark.parametrize("ttl", [None, "-1"])
async def test_write_without_a_time_takes_the_old_one_away(store: StateStore, key: str, ttl: str | None) -> None:
    needs(store, state.TTL)
    await store.set(Set(key, b"1", is_json=True, metadata={"ttlInSeconds": "1000"}))
    await store.set(Set(key, b"2", is_json=True, metadata={} if ttl is None else {"ttlInSeconds": ttl}))

    item = await read(store, key)
    assert (item.value, "ttlExpireTime" in item.metadata) == (b"2", False)


async def test_time_holds_in_transactions(store: StateStore, ready: Ready, key: str) -> None:
    needs(store, state.TTL)
    if not ready.tells_end:
        pytest.skip("the store does not know")
    needs(store, state.TRANSACTIONAL)
    await store.transact([Set(key, b"1", is_json=True, metadata={"ttlInSeconds": "1000"}), Set(key + "b", b"2")])

    assert "ttlExpireTime" in (await read(store, key)).metadata
    assert "ttlExpireTime" not in (await read(store, key + "b")).metadata


@pytest.mark.parametrize("ttl", ["soon", "1.5"])
async def test_time_that_is_none_is_refused(store: StateStore, key: str, ttl: str) -> None:
    needs(store, state.TTL)

    with pytest.raises(StateError):
        await store.set(Set(key, b"1", is_json=True, metadata={"ttlInSeconds": ttl}))
    assert await store.get(key) is None


# -- listing --


async def listed(store: StateStore, prefix: str, limit: int) -> list[str]:
    found: list[str] = []
    token = ""
    while True:
        page = await store.keys(prefix, limit=limit, token=token)
        assert len(page.keys) <= limit
        found += page.keys
        token = page.token
        if not token:
            return found


@pytest.mark.parametrize("limit", [1, 3, 7, 1000])
async def test_keys_are_listed_page_by_page(store: StateStore, key: str, limit: int) -> None:
    needs(store, state.KEYS_LIKE)
    names = [f"{key}-{number}" for number in range(7)]
    await store.set_many([Set(name, b"1", is_json=True) for name in [*names, key.upper(), "x" + key]])

    assert sorted(set(await listed(store, key, limit))) == names


async def test_prefix_is_taken_as_it_is(store: StateStore, key: str) -> None:
    needs(store, state.KEYS_LIKE)
    for odd in ("%", "_", "*", "?", "[a]", "\\", "ü"):
        await store.set_many([Set(f"{key}{odd}1", b"1"), Set(f"{key}x1", b"1"), Set(f"{key}a1", b"1")])

        assert await listed(store, f"{key}{odd}", 10) == [f"{key}{odd}1"]


async def test_listing_goes_on_where_keys_were_deleted(store: StateStore, key: str) -> None:
    needs(store, state.KEYS_LIKE)
    names = [f"{key}-{number}" for number in range(6)]
    await store.set_many([Set(name, b"1", is_json=True) for name in names])
    page = await store.keys(key, limit=3)
    await store.delete_many([Delete(name) for name in page.keys])

    rest = await store.keys(key, limit=10, token=page.token)

    assert sorted([*page.keys, *rest.keys]) == names


async def test_what_has_ended_is_not_listed(store: StateStore, key: str) -> None:
    needs(store, state.KEYS_LIKE)
    needs(store, state.TTL)
    await store.set(Set(key + "short", b"1", metadata={"ttlInSeconds": "1"}))
    await store.set(Set(key + "long", b"1", metadata={"ttlInSeconds": "1000"}))

    async def has_ended() -> bool:
        return await listed(store, key, 10) == [key + "long"]

    await until(has_ended)


async def test_token_from_elsewhere_is_refused_or_finds_nothing_wrong(store: StateStore, key: str) -> None:
    needs(store, state.KEYS_LIKE)
    await store.set(Set(key, b"1"))

    with contextlib.suppress(StateError):
        page = await store.keys(key, limit=10, token="~not a token~")
        assert set(page.keys) <= {key}


async def test_deleting_by_prefix_spares_what_lies_deeper(store: StateStore, key: str) -> None:
    needs(store, state.DELETE_WITH_PREFIX)
    there = [key + "||one", key + "||two", key + "||one||deeper", key + "-other", key]
    await store.set_many([Set(name, b"1", is_json=True) for name in there])

    assert await store.delete_prefix(key + "||") == 2

    found = await store.get_many(there)
    assert [item is not None for item in found] == [False, False, True, True, True]


# -- query --

PEOPLE: list[tuple[str, dict[str, object]]] = [
    ("1", {"person": {"org": "Dev Ops", "id": 1036}, "city": "Seattle", "state": "WA"}),
    ("2", {"person": {"org": "Hardware", "id": 1028}, "city": "Portland", "state": "OR"}),
    ("3", {"person": {"org": "Finance", "id": 1071}, "city": "Sacramento", "state": "CA"}),
    ("4", {"person": {"org": "Dev Ops", "id": 1042}, "city": "Spokane", "state": "WA"}),
    ("5", {"person": {"org": "Hardware", "id": 1007}, "city": "Los Angeles", "state": "CA"}),
]
FILTERS: list[tuple[dict[str, object], str]] = [
    ({"EQ": {"state": "CA"}}, "35"),
    ({"EQ": {"person.id": 1042}}, "4"),
    ({"IN": {"state": ["CA", "OR"]}}, "235"),
    ({"OR": [{"EQ": {"person.org": "Dev Ops"}}, {"EQ": {"state": "OR"}}]}, "124"),
    ({"AND": [{"EQ": {"person.org": "Hardware"}}, {"IN": {"state": ["CA", "WA"]}}]}, "5"),
    ({"AND": [{"GT": {"person.id": 1028}}, {"LTE": {"person.id": 1042}}]}, "14"),
    ({"AND": [{"GTE": {"person.id": 1028}}, {"LT": {"person.id": 1042}}, {"NEQ": {"state": "OR"}}]}, "1"),
]


async def with_people(store: StateStore, key: str) -> Callable[[dict[str, object]], query.Query]:
    """Writes people; a query made by the result finds these only."""
    needs(store, state.QUERY_API)
    requests = [
        Set(
            f"{key}-{name}",
            json.dumps({**person, "run": key}).encode(),
            is_json=True,
            metadata={"contentType": "application/json"},
        )
        for name, person in PEOPLE
    ]
    assert not any(await store.set_many(requests))

    def ours(wanted: dict[str, object]) -> query.Query:
        mine = {"EQ": {"run": key}}
        given = wanted.get("filter")
        return query.parse(json.dumps({**wanted, "filter": {"AND": [given, mine]} if given else mine}))

    return ours


@pytest.mark.parametrize(("wanted", "names"), FILTERS, ids=lambda given: json.dumps(given))
async def test_query_finds_what_fits(store: StateStore, key: str, wanted: dict[str, object], names: str) -> None:
    ours = await with_people(store, key)

    found = await store.query(ours({"filter": wanted}), metadata={"contentType": "application/json"})

    assert sorted(match.key.removeprefix(f"{key}-") for match in found.items) == list(names)
    for match in found.items:
        assert json.loads(match.value)["run"] == key
        assert match.etag == (await read(store, match.key)).etag


async def test_query_sorts_and_goes_page_by_page(store: StateStore, key: str) -> None:
    ours = await with_people(store, key)
    sort = [{"key": "state", "order": "DESC"}, {"key": "person.id"}]
    names: list[str] = []
    token, pages = "", 0
    while not pages or token:
        found = await store.query(ours({"sort": sort, "page": {"limit": 2, "token": token}}))
        assert len(found.items) <= 2
        names += [match.key.removeprefix(f"{key}-") for match in found.items]
        token, pages = found.token, pages + 1

    assert "".join(names) == "14253"


# -- many users, restarts --


async def test_writes_side_by_side_are_all_there(store: StateStore, key: str) -> None:
    names = [f"{key}-{number}" for number in range(60)]

    async with asyncio.timeout(SECONDS):
        await asyncio.gather(*(store.set(Set(name, name.encode())) for name in names))

    for name in names:
        assert (await read(store, name)).value == name.encode()


async def test_two_that_share_a_store_see_each_other(store: StateStore, ready: Ready, type_: str, key: str) -> None:
    if not ready.is_durable:
        pytest.skip("nobody else has this store")
    other = make(type_, ready)
    await other.open()
    try:
        await asyncio.gather(*(one.set(Set(f"{key}-{n}", b"%d" % n)) for n in range(20) for one in (store, other)))
        await store.set(Set(key, b"1", is_json=True))
        etag = (await read(other, key)).etag
        await other.set(Set(key, b"2", is_json=True, etag=etag))
        assert (await read(store, key)).value == b"2"
        if state.ETAG in store.features:
            with pytest.raises(ETagMismatch):
                await store.set(Set(key, b"3", is_json=True, etag=etag))
    finally:
        await other.close()


async def test_state_is_there_after_opening_again(store: StateStore, ready: Ready, type_: str, key: str) -> None:
    await store.set(Set(key, b'"kept"', is_json=True))
    await store.close()
    again = make(type_, ready)
    await again.open()

    try:
        item = await again.get(key)
        assert (item.value if item else None) == (b'"kept"' if ready.is_durable else None)
    finally:
        await again.close()


async def test_store_is_used_again_after_its_server_was_restarted(store: StateStore, ready: Ready, key: str) -> None:
    if ready.restart is None:
        pytest.skip("the store has no server")
    await store.set(Set(key, b"1", is_json=True))

    await ready.restart()

    async def works() -> bool:
        try:
            await store.set(Set(key, b"2", is_json=True))
        except StateError:
            return False
        return (await read(store, key)).value == b"2"

    await until(works)


async def test_capabilities_tell_of_actors(store: StateStore) -> None:
    for_actors = {state.ETAG, state.TRANSACTIONAL} <= set(store.features)

    assert ("ACTOR" in store.capabilities) is for_actors


def test_every_store_is_judged(type_: str, serve: object) -> None:
    assert [found.name for found in components.available("state")] == sorted(STORES)
