"""Every configuration store runs through these cases; a new one needs its entry in `STORES`."""

import asyncio
import contextlib
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
from tests.conformance import postgresql_servers, redis_servers, servers

from pydapr import components
from pydapr.components.configuration import ConfigurationError, ConfigurationStore, Item


class Sqlite:
    """A table that others change, too."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "configuration.db"
        self.metadata = {"connectionString": str(self.path)}

    def _run(self, sql: str, *given: object) -> None:
        with contextlib.closing(sqlite3.connect(self.path, timeout=10)) as db, db:
            db.execute(sql, given)

    def put(self, key: str, value: str) -> None:
        self._run(
            "INSERT INTO configuration (key, value) VALUES (?, ?) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            key,
            value,
        )

    def remove(self, key: str) -> None:
        self._run("DELETE FROM configuration WHERE key = ?", key)


class SqliteWithoutWal(Sqlite):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.metadata["disableWAL"] = "true"


class Redis:
    """A database of a server that others change, too."""

    database = "7"

    def __init__(self, folder: Path) -> None:
        self.metadata = {**servers.shared(redis_servers.alone)[0], "redisDB": self.database}
        self._run("FLUSHDB")

    def _run(self, *command: str) -> None:
        words = [servers.program("redis-cli"), "-p", self.metadata["redisPort"], "-n", self.database, *command]
        subprocess.run(words, check=True, timeout=20, stdout=subprocess.DEVNULL)

    def put(self, key: str, value: str) -> None:
        self._run("SET", key, value)

    def remove(self, key: str) -> None:
        self._run("DEL", key)


class PostgreSQL:
    """A table with the trigger that tells of changes."""

    def __init__(self, folder: Path) -> None:
        self._server = servers.shared(postgresql_servers.server)
        self.metadata = {**postgresql_servers.first_version()[0], "table": "items", "notifyChannel": "items_changed"}
        self._server.sql(
            """
            DROP TABLE IF EXISTS items;
            CREATE TABLE items (key text PRIMARY KEY, value text NOT NULL, version text NOT NULL, metadata json);
            GRANT ALL ON items TO dapr;
            CREATE OR REPLACE FUNCTION items_changed() RETURNS trigger AS $$
            BEGIN
              PERFORM pg_notify('items_changed', json_build_object('table', TG_TABLE_NAME, 'action', TG_OP, 'data',
                CASE WHEN TG_OP = 'DELETE' THEN row_to_json(OLD)
                     WHEN length(NEW.value) > 5000 THEN json_build_object('key', NEW.key)
                     ELSE row_to_json(NEW) END)::text);
              RETURN NULL;
            END $$ LANGUAGE plpgsql;
            CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON items
              FOR EACH ROW EXECUTE PROCEDURE items_changed();
            """
        )

    def put(self, key: str, value: str) -> None:
        self._server.sql(
            f"INSERT INTO items VALUES ('{key}', $value${value}$value$, '1', '{{\"by\": \"test\"}}') ON CONFLICT (key) "
            "DO UPDATE SET value = excluded.value, version = items.version::int + 1"
        )

    def remove(self, key: str) -> None:
        self._server.sql(f"DELETE FROM items WHERE key = '{key}'")


Place = Sqlite | Redis | PostgreSQL
"""Where items are, changed by others."""

STORES: dict[str, list[Callable[[Path], Place]]] = {
    "configuration.sqlite": [Sqlite, SqliteWithoutWal],
    "configuration.redis": [Redis],
    "configuration.postgresql": [PostgreSQL],
}
CASES = [pytest.param(type_, fill, id=f"{type_}-{fill.__name__}") for type_, fills in STORES.items() for fill in fills]
pytestmark = pytest.mark.parametrize(("type_", "fill"), CASES)

Change = tuple[str, Mapping[str, Item]]


@pytest.fixture
def place(type_: str, fill: Callable[[Path], Place], tmp_path: Path) -> Place:
    return fill(tmp_path)


@pytest.fixture
async def store(type_: str, place: Place) -> AsyncIterator[ConfigurationStore]:
    found = components.find(type_)
    assert found is not None
    made = found.make(components.read(found.options, place.metadata))
    assert isinstance(made, ConfigurationStore)
    await made.open()
    yield made
    await made.close()


class Told:
    """What a subscription has told."""

    def __init__(self) -> None:
        self.changes: asyncio.Queue[Change] = asyncio.Queue()

    async def __call__(self, name: str, items: Mapping[str, Item]) -> None:
        await self.changes.put((name, items))

    async def next(self) -> Change:
        async with asyncio.timeout(10):
            return await self.changes.get()


async def test_items_by_key_and_all_of_them(store: ConfigurationStore, place: Place) -> None:
    assert await store.get([], {}) == {}
    place.put("a", "1")
    place.put("b", "2")

    assert {key: item.value for key, item in (await store.get([], {})).items()} == {"a": "1", "b": "2"}
    assert list(await store.get(["b", "no"], {})) == ["b"]
    assert await store.get(["no"], {}) == {}


async def test_the_version_is_the_stores_own(store: ConfigurationStore, place: Place) -> None:
    if isinstance(place, Redis):
        for value, item in {"a": Item("a"), "a||7": Item("a", "7"), "a||7||8": Item("a", "7")}.items():
            place.put("a", value)
            assert await store.get(["a"], {}) == {"a": item}
        return
    versions = []
    for value in ("x", "y", "z"):
        place.put("a", value)
        versions.append((await store.get(["a"], {}))["a"].version)

    assert versions == ["1", "2", "3"]


async def test_a_change_is_told_with_the_id_of_the_subscription(store: ConfigurationStore, place: Place) -> None:
    place.put("a", "0")
    told = Told()
    name = await store.subscribe(["a"], {}, told)

    place.put("b", "x")
    place.put("a", "1")

    changed = await told.next()
    assert (changed[0], {key: item.value for key, item in changed[1].items()}) == (name, {"a": "1"})
    place.remove("a")
    assert await told.next() == (name, {"a": Item()})
    assert told.changes.empty()


async def test_a_subscription_without_keys_is_for_all(store: ConfigurationStore, place: Place) -> None:
    told = Told()
    await store.subscribe([], {}, told)

    for key in ("a", "b"):
        place.put(key, "1")
        assert list((await told.next())[1]) == [key]


async def test_several_subscriptions_are_told_each(store: ConfigurationStore, place: Place) -> None:
    one, two = Told(), Told()
    names = [await store.subscribe(["a"], {}, one), await store.subscribe([], {}, two)]

    place.put("a", "1")

    assert [(await one.next())[0], (await two.next())[0]] == names


async def test_who_is_slow_holds_nobody_up_and_gets_the_last(store: ConfigurationStore, place: Place) -> None:
    told, may_go_on, seen = Told(), asyncio.Event(), list[str]()

    async def slow(name: str, items: Mapping[str, Item]) -> None:
        await may_go_on.wait()
        seen.append(items["a"].value)

    await store.subscribe(["a"], {}, slow)
    await store.subscribe(["a"], {}, told)
    for number in range(5):
        place.put("a", str(number))
        assert (await told.next())[1]["a"].value == str(number)

    may_go_on.set()
    async with asyncio.timeout(10):
        while not seen or seen[-1] != "4":  # noqa: ASYNC110  # the handler shall do nothing but keep what it is told
            await asyncio.sleep(0.01)
    assert seen == sorted(set(seen))


async def test_after_unsubscribing_nothing_is_told(store: ConfigurationStore, place: Place) -> None:
    ended, told = Told(), Told()
    name = await store.subscribe(["a"], {}, ended)
    await store.unsubscribe(name)
    await store.subscribe(["a"], {}, told)

    place.put("a", "1")

    await told.next()
    assert ended.changes.empty()
    for gone in (name, "never"):
        with pytest.raises(ConfigurationError, match=f"subscription with id {gone} does not exist"):
            await store.unsubscribe(gone)


@pytest.mark.parametrize("text", ["a b", "ü'\"", "x" * 100_000])
async def test_odd_values_and_keys(store: ConfigurationStore, place: Place, text: str) -> None:
    key = "plain" if isinstance(place, PostgreSQL) else f"k{text[:100]}"
    told = Told()
    await store.subscribe([key], {}, told)
    place.put(key, text)

    assert (await store.get([key], {}))[key].value == text
    assert (await told.next())[1][key].value == text


async def test_keys_that_the_table_cannot_have_are_refused(store: ConfigurationStore, place: Place) -> None:
    if not isinstance(place, PostgreSQL):
        pytest.skip("it takes any key")
    with pytest.raises(ConfigurationError, match="invalid key"):
        await store.get(["a b"], {})


async def test_changes_are_told_after_the_server_was_restarted(store: ConfigurationStore, place: Place) -> None:
    if not isinstance(place, PostgreSQL):
        pytest.skip("it has a test of its own, or no server")
    place.put("a", "0")
    told = Told()
    await store.subscribe(["a"], {}, told)

    await asyncio.to_thread(postgresql_servers.first_version()[1])
    place.put("a", "1")

    assert (await told.next())[1]["a"].value == "1"
