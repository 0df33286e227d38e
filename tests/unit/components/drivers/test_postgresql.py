"""How a database is reached by the original's metadata, and which options are refused."""

from urllib.parse import parse_qsl

import pytest

from pydapr import components
from pydapr.components.drivers import postgresql


def address(**metadata: str) -> tuple[dict[str, str], int]:
    url, pool = postgresql.address(components.read(postgresql.Options, metadata))
    assert url.startswith("postgresql://?")
    return dict(parse_qsl(url.partition("?")[2])), pool


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("host=db user=me", {"host": "db", "user": "me"}),
        (r"host = db password='it\'s \\ here' dbname=x", {"host": "db", "password": r"it's \ here", "database": "x"}),
        ("host=db sslmode=verify-full connect_timeout=10", {"host": "db", "sslmode": "verify-full"}),
        ("hostaddr=10.0.0.1 port=1", {"host": "10.0.0.1", "port": "1"}),
        ("postgres://me:p%40ss@db:1/x?sslmode=disable", {
            "user": "me", "password": "p@ss", "host": "db", "port": "1", "database": "x", "sslmode": "disable",
        }),
        ("postgresql://a:1,b/x", {"host": "a,b", "port": "1,5432", "database": "x"}),
        ("postgres://[::1]:7/x", {"host": "::1", "port": "7", "database": "x"}),
    ],
)  # fmt: skip
def test_connection_string_is_read(text: str, parts: dict[str, str]) -> None:
    assert address(connectionString=text) == (parts, 0)


def test_options_stand_in_the_place_of_what_the_string_says() -> None:
    parts, pool = address(
        url="host=db user=me password=old pool_max_conns=7", user="you", password="new&1", host="h", hostaddr="10.0.0.1"
    )

    assert (parts, pool) == ({"host": "10.0.0.1", "user": "you", "password": "new&1"}, 7)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "failed to build connection string"),
        ({"connectionString": "nonsense"}, "failed to parse connection string"),
        ({"host": "db", "timeout": "0"}, "timeout"),
        ({"host": "db", "useAzureAD": "true"}, "useAzureAD"),
        ({"host": "db", "queryExecMode": "quick"}, "queryExecMode"),
        ({"host": "db", "metadataTableName": "a; DROP TABLE b"}, "invalid identifier"),
    ],
)
def test_what_cannot_be_used_is_named(metadata: dict[str, str], message: str) -> None:
    with pytest.raises(components.Wrong, match=message):
        postgresql.Database(components.read(postgresql.Options, metadata))


@pytest.mark.parametrize("name", ["state", "my.state", '"Odd name".state', "a$1"])
def test_names_of_tables(name: str) -> None:
    assert postgresql.TABLE.match(name)


@pytest.mark.parametrize("name", ["", "a.b.c", "1a", 'a"b', "a b", "a--", '"a".', "ä"])
def test_names_that_are_none(name: str) -> None:
    assert not postgresql.TABLE.match(name)
