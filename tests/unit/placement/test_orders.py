"""Bytes of orders against the protobuf library, and the page of tables against what the original shows."""

import json

from hypothesis import given
from hypothesis import strategies as st

from pydapr.placement import orders, rounds
from pydapr.placement.rounds import Host, Order, Table
from pydapr.proto.dapr.proto.placement.v1 import placement_pb2
from pydapr.wire import grpc


def decoded(frame: bytes) -> placement_pb2.PlacementOrder:
    (message,) = grpc.MessageReader(1 << 30, b"gzip").feed(frame)
    return placement_pb2.PlacementOrder.FromString(message)


def frames(operation: int, version: int, table: Table | None = None) -> orders.Frames:
    return orders.Frames("ns", Order(operation, version, (1,), table), 100)


def test_orders_without_a_table() -> None:
    for operation, word in rounds.WORDS.items():
        made = frames(operation, 3)
        assert decoded(made.plain) == placement_pb2.PlacementOrder(operation=word, version=3)
        assert made.zipped is made.plain
    assert decoded(frames(rounds.LOCK, 0).plain) == placement_pb2.PlacementOrder(operation="lock")


@given(
    st.lists(
        st.builds(
            Host,
            name=st.text(max_size=20),
            id=st.text(max_size=200),
            entities=st.lists(st.text(max_size=300), max_size=4, unique=True).map(tuple),
            port=st.integers(0, 2**40),
        ),
        max_size=6,
        unique_by=lambda host: host.name,
    ),
    st.integers(1, 2**63),
)
def test_the_table_is_what_the_library_would_write(hosts: list[Host], version: int) -> None:
    expected = placement_pb2.PlacementOrder(operation="update", version=version)
    expected.tables.version = str(version)
    expected.tables.replication_factor = 100
    for host in hosts:
        for entity in host.entities:
            entry = expected.tables.entries[entity].load_map[host.name]
            entry.name, entry.port, entry.id, entry.namespace = host.name, host.port, host.id, "ns"
    made = frames(rounds.UPDATE, version, Table(version, tuple(hosts)))
    assert decoded(made.plain) == decoded(made.zipped) == expected


def test_a_large_table_is_smaller_in_gzip() -> None:
    hosts = tuple(Host(f"10.0.{n}.1:50002", f"app-{n}", ("Cat", "Dog")) for n in range(250))
    made = frames(rounds.UPDATE, 1, Table(1, hosts))
    assert len(made.zipped) < len(made.plain) / 4
    assert decoded(made.zipped) == decoded(made.plain)


def test_what_a_sidecar_says_is_read() -> None:
    said = placement_pb2.Host(
        name="h:1", port=2, load=3, entities=["Dog", "Cat", "Dog"], id="app", pod="p", api_level=20, namespace="ns",
        operation=placement_pb2.REPORT,
    )  # fmt: skip
    assert orders.host(orders.read(said.SerializeToString())) == Host("h:1", "app", ("Cat", "Dog"), 2, 3, "p", 20, 1)


def test_the_page_of_tables() -> None:
    host = Host("10.0.0.2:50701", "appb", ("Cat", "Dog"), api_level=20)
    page = orders.page({"default": (1, (host,)), "empty": (4, ()), "new": (0, ())})
    assert json.dumps(page, separators=(",", ":")) == (
        '{"tables":{"default":{"hosts":[{"name":"10.0.0.2:50701","entities":["Cat","Dog"],"id":"appb","api_level":20,'
        '"namespace":"default","operation":1}],"version":1},"empty":{"version":4},"new":{}}}'
    )
    assert orders.page({}) == {}
