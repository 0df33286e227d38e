"""What is said to placement, and what it orders, is what protobuf makes of it."""

import contextlib

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from pydapr.proto.dapr.proto.placement.v1 import placement_pb2
from pydapr.wire import placement
from pydapr.wire.invocation import field

Host, Order = placement_pb2.Host, placement_pb2.PlacementOrder
VERSIONS = st.integers(0, (1 << 64) - 1)
WORDS = st.text(st.characters(codec="utf-8"), max_size=8)
HOSTS = st.dictionaries(WORDS, st.tuples(WORDS, st.lists(WORDS, max_size=3)), max_size=3)


@given(WORDS, WORDS, WORDS, st.lists(WORDS, max_size=3), st.booleans())
def test_a_report_is_a_host(app_id: str, namespace: str, name: str, types: list[str], returns: bool) -> None:
    said = placement.report(app_id, namespace, name, types, 20, returns)

    expected = Host(
        name=name,
        entities=types,
        id=app_id,
        api_level=20,
        namespace=namespace,
        operation=placement_pb2.REPORT,
        returns=returns,
    )
    assert said == expected.SerializeToString()


@pytest.mark.parametrize(
    ("operation", "number"),
    [
        (placement_pb2.LOCK, placement.LOCK),
        (placement_pb2.UPDATE, placement.UPDATE),
        (placement_pb2.UNLOCK, placement.UNLOCK),
    ],
)
@given(version=VERSIONS)
def test_an_acknowledgement_is_a_host(operation: placement_pb2.HostOperation, number: int, version: int) -> None:
    said = placement.acknowledgement(number, "app", "space", version)

    expected = Host(id="app", namespace="space", operation=operation, version=version)
    assert said == expected.SerializeToString()


def test_what_no_text_can_hold_is_replaced() -> None:
    assert Host.FromString(placement.report("a\ud800", "", "", ["b\ud800"], 20, False)).entities == ["b?"]


def _written(
    operation: str, version: int, tables: dict[str, dict[str, tuple[str, list[str]]]] | None, replicas: int
) -> bytes:
    order = Order(operation=operation, version=version)
    if tables is not None:
        order.tables.replication_factor = replicas
        for name, hosts in tables.items():
            table = order.tables.entries[name]
            table.hosts[1 << 63] = "deprecated"
            table.sorted_set.append(1 << 63)
            for host, (app_id, types) in hosts.items():
                of_host = Host(name=host, id=app_id, entities=types, port=50, pod="pod", operation=placement_pb2.REPORT)
                table.load_map[host].CopyFrom(of_host)
    return order.SerializeToString()


@given(WORDS, VERSIONS, st.none() | st.dictionaries(WORDS, HOSTS, max_size=3), st.integers(-(1 << 63), (1 << 63) - 1))
def test_an_order_is_read(
    operation: str, version: int, tables: dict[str, dict[str, tuple[str, list[str]]]] | None, replicas: int
) -> None:
    read = placement.order(_written(operation, version, tables, replicas))

    assert (read.operation, read.version) == (operation, version)
    assert read.replicas == (0 if tables is None else replicas)
    assert read.members == {
        name: {host: app_id for host, (app_id, _) in hosts.items()} for name, hosts in (tables or {}).items()
    }


@pytest.mark.parametrize(
    ("text", "version"), [("7", 7), ("", 0), ("seven", 0), ("-7", 0), ("1" * 19, int("1" * 19)), ("1" * 5000, 0)]
)
def test_a_version_may_stand_in_the_tables_alone(text: str, version: int) -> None:
    tables = placement_pb2.PlacementTables(version=text)
    assert placement.order(Order(tables=tables).SerializeToString()).version == version
    assert placement.order(Order(tables=tables, version=9).SerializeToString()).version == 9


def test_fields_that_are_not_known_are_passed_over() -> None:
    unknown = b"\x7a\x03abc\x78\x01\x7d1234\x79" + b"12345678"
    host = field(b"\x2a", b"app") + unknown
    table = field(b"\x1a", field(b"\x0a", b"h") + field(b"\x12", host) + unknown) + unknown
    tables = field(b"\x0a", field(b"\x0a", b"cat") + field(b"\x12", table) + unknown) + b"\x20\x64" + unknown

    read = placement.order(field(b"\x0a", tables) + b"\x12\x06update\x18\x05" + unknown)

    assert (read.operation, read.version, read.replicas, read.members) == ("update", 5, 100, {"cat": {"h": "app"}})


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b"\x12",
        b"\x12\x05lock",
        b"\x12\x01\xff",
        b"\x1a\x01a",
        b"\x10\x01",
        b"\x0a\x02\x0a\x05",
        b"\x0a\x04\x0a\x02\x12\x05",
        b"\x0a\x06\x0a\x04\x12\x02\x1a\x05",
        b"\x0a\x0a\x0a\x08\x12\x06\x1a\x04\x12\x02\x2a\x05",
        b"\x0b",
    ],
)
def test_what_is_no_order_is_refused(data: bytes) -> None:
    with pytest.raises(placement.Invalid):
        placement.order(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_order_or_refused(data: bytes) -> None:
    with contextlib.suppress(placement.Invalid):
        read = placement.order(data)
        with contextlib.suppress(DecodeError):  # ours passes over a broken field that it does not know
            expected = Order.FromString(data)
            assert (read.operation, read.replicas) == (expected.operation, expected.tables.replication_factor)
