"""Sidecars that share a SQLite file, in the original's layout."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pydapr import components
from pydapr.components import Wrong
from pydapr.components.nameresolution import Instance, NotFound
from pydapr.components.nameresolution.sqlite import Options, Sqlite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "names.db"


@pytest.fixture
async def resolver(path: Path) -> AsyncIterator[Sqlite]:
    made = Sqlite(Options(connection_string=str(path)))
    await made.open()
    yield made
    await made.close()


def rows(path: Path, query: str = "SELECT app_id, address, namespace FROM hosts") -> list[tuple[str, ...]]:
    with sqlite3.connect(path) as db:
        found = db.execute(query).fetchall()
    db.close()
    return found


async def test_sidecar_is_found_by_another_until_it_stops(resolver: Sqlite, path: Path) -> None:
    other = Sqlite(Options(connection_string=f"file:{path}"))
    await other.open()
    await other.register(Instance("shop", "default", "10.0.0.1:50002"))

    assert await resolver.resolve("shop", "default") == ("10.0.0.1:50002",)
    await other.close()
    assert rows(path) == []


async def test_layout_is_the_originals(resolver: Sqlite, path: Path) -> None:
    await resolver.register(Instance("shop", "live", "10.0.0.1:50002"))

    assert rows(path) == [("shop", "10.0.0.1:50002", "live")]
    assert rows(path, "SELECT key, value FROM metadata") == [("nr-migrations", "1")]
    columns = [row[1] for row in rows(path, "PRAGMA table_info(hosts)")]
    assert columns == ["registration_id", "address", "app_id", "namespace", "last_update"]
    assert rows(path, "PRAGMA journal_mode") == [("wal",)]


async def test_row_of_the_original_counts_for_any_namespace(resolver: Sqlite, path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO hosts VALUES ('id', '10.0.0.9:1', 'shop', '', strftime('%s', 'now'))")
    db.close()

    assert await resolver.resolve("shop", "live") == ("10.0.0.9:1",)


async def test_other_namespace_is_not_found(resolver: Sqlite) -> None:
    await resolver.register(Instance("shop", "live", "10.0.0.1:50002"))

    with pytest.raises(NotFound, match="SQLite"):
        await resolver.resolve("shop", "default")


async def test_row_that_was_not_renewed_does_not_count(resolver: Sqlite, path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO hosts VALUES ('id', '10.0.0.9:1', 'shop', '', strftime('%s', 'now') - 6)")
    db.close()

    with pytest.raises(NotFound):
        await resolver.resolve("shop", "default")


async def test_address_is_taken_over(resolver: Sqlite, path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO hosts VALUES ('dead', '10.0.0.1:50002', 'old', '', 0)")
    db.close()
    await resolver.register(Instance("shop", "default", "10.0.0.1:50002"))

    assert rows(path) == [("shop", "10.0.0.1:50002", "default")]


async def test_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    resolver = Sqlite(Options(connection_string=str(tmp_path / "no" / "folder.db")))

    with pytest.raises(OSError, match="database error: unable to open database file"):
        await resolver.open()
    await resolver.close()


@pytest.mark.parametrize(
    ("configuration", "reason"),
    [
        ({}, "connectionString is required"),
        ({"connectionString": "x", "tableName": "a; b"}, "invalid identifier for table name: a; b"),
        ({"connectionString": "x", "timeout": "500ms"}, "must be greater than 1s"),
        ({"connectionString": "x", "updateInterval": "2500ms"}, "must not contain fractions"),
        ({"connectionString": "x", "updateInterval": 2, "timeout": "1500ms"}, "at least 1s greater"),
        ({"connectionString": "x?_pragma=busy_timeout(5)"}, "please use `busyTimeout` instead"),
        ({"connectionString": "x?_pragma=a(b);drop"}, "forbidden option"),
    ],
)
def test_configuration_that_cannot_be_used_is_told(configuration: dict[str, object], reason: str) -> None:
    with pytest.raises(Wrong) as error:
        Sqlite(components.read(Options, configuration))

    assert reason in str(error.value)
