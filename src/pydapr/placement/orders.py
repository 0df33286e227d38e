"""What sidecars say and are ordered, as bytes of the protocol, and the tables as the metadata page shows them.

Used by `namespaces`. The table goes to every sidecar and is large where there are many, so it is made once per round
and by hand: each host once, then its bytes for each of its types. Of a host it holds what sidecars go by, which is
name, port, app id and namespace; the original repeats all its types in each entry. Sidecars that take gzip get it in
gzip when it is large.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydapr.errors import Code, RpcError
from pydapr.placement import rounds
from pydapr.proto.dapr.proto.placement.v1 import placement_pb2
from pydapr.wire import grpc
from pydapr.wire.invocation import field, varint

if TYPE_CHECKING:
    from pydapr.placement.rounds import Host, Order, Table

LARGE = 16 * 1024
"""Bytes from which on compression is worth its while."""


def read(data: bytes) -> placement_pb2.Host:
    """What a sidecar says. Raises `RpcError`."""
    from google.protobuf.message import DecodeError

    try:
        return placement_pb2.Host.FromString(data)
    except DecodeError:
        raise RpcError(Code.INTERNAL, "grpc: error unmarshalling request") from None


def host(message: placement_pb2.Host) -> rounds.Host:
    """The sidecar that says it."""
    return rounds.Host(
        message.name,
        message.id,
        tuple(sorted(set(message.entities))),
        message.port,
        message.load,
        message.pod,
        message.api_level,
        message.operation,
        message.returns,
    )


class Frames:
    """One order for many streams."""

    def __init__(self, namespace: str, order: "Order", replication_factor: int) -> None:
        head = b"" if order.table is None else field(b"\x0a", _tables(namespace, order.table, replication_factor))
        word = field(b"\x12", rounds.WORDS[order.operation].encode())
        version = b"\x18" + varint(order.version) if order.version else b""
        self._message = head + word + version
        self.plain = grpc.frame(self._message)
        self._zipped: bytes | None = None

    @property
    def zipped(self) -> bytes:
        """For streams that take gzip."""
        if self._zipped is None:
            large = len(self._message) >= LARGE
            self._zipped = grpc.frame(grpc.compress(self._message), True) if large else self.plain
        return self._zipped


def _tables(namespace: str, table: "Table", replication_factor: int) -> bytes:
    """A PlacementTables."""
    of_types: dict[str, list[bytes]] = {}
    of_namespace = field(b"\x42", namespace.encode())
    for one in table.hosts:
        entry = field(b"\x1a", field(b"\x0a", one.name.encode()) + field(b"\x12", _host(one, of_namespace)))
        for actor_type in one.entities:
            of_types.setdefault(actor_type, []).append(entry)
    parts = [
        field(b"\x0a", field(b"\x0a", actor_type.encode()) + field(b"\x12", b"".join(entries)))
        for actor_type, entries in of_types.items()
    ]
    parts += (field(b"\x12", str(table.version).encode()), b"\x20" + varint(replication_factor))
    return b"".join(parts)


def _host(one: "Host", of_namespace: bytes) -> bytes:
    port = b"\x10" + varint(one.port) if one.port > 0 else b""
    return field(b"\x0a", one.name.encode()) + port + field(b"\x2a", one.id.encode()) + of_namespace


def page(tables: Mapping[str, tuple[int, "Sequence[Host]"]]) -> dict[str, object]:
    """Version and hosts of each namespace in the form of the original; what is empty is left out."""
    return _filled({"tables": {name: _shown(name, *tables[name]) for name in sorted(tables)}})


def _shown(namespace: str, version: int, hosts: "Sequence[Host]") -> dict[str, object]:
    listed = [
        _filled(
            {
                "name": one.name,
                "port": one.port,
                "load": one.load,
                "entities": one.entities,
                "id": one.id,
                "pod": one.pod,
                "api_level": one.api_level,
                "namespace": namespace,
                "operation": one.operation,
            }
        )
        for one in hosts
    ]
    return _filled({"hosts": listed, "version": version})


def _filled(fields: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value}
