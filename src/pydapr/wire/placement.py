"""What a sidecar says to placement, and what it is ordered: the messages of `dapr.proto.placement.v1`.

Called by `peers.placement`. Written and read by hand like `wire.invocation`, so that a sidecar needs no protobuf
library to follow placement. A table names each sidecar again for each of its types, in the same bytes as a rule: those
are read once.
"""

from collections.abc import Iterable
from typing import Final

from pydapr.wire.invocation import Invalid, fields, given_text, octets, signed, text, text_field, varint

__all__ = ["LOCK", "REPORT", "UNLOCK", "UPDATE", "Invalid", "Order", "acknowledgement", "order", "report"]

REPORT: Final = 1
LOCK: Final = 2
UPDATE: Final = 3
UNLOCK: Final = 4
"""`HostOperation` by number."""

_DIGITS: Final = 20
"""So many are beyond what a version can be."""


class Order:
    """`PlacementOrder`. `members` are the app ids by host, by type of actor; `replicas` the points of each host on the
    ring; `version` stands in the order or, from an older placement, in its tables."""

    __slots__ = ("members", "operation", "replicas", "version")

    def __init__(self) -> None:
        self.operation = ""
        self.version = 0
        self.members: dict[str, dict[str, str]] = {}
        self.replicas = 0


# -- writing: a `Host` --


def report(app_id: str, namespace: str, name: str, types: Iterable[str], api_level: int, returns: bool) -> bytes:
    """Which types of actors this sidecar hosts from now on. `returns` says that it has followed a placement before."""
    out = [text_field(b"\x0a", name), *[given_text(b"\x22", one) for one in types]]
    out += [text_field(b"\x2a", app_id), b"\x38", varint(api_level), text_field(b"\x42", namespace), b"\x48\x01"]
    if returns:
        out.append(b"\xa0\x06\x01")
    return b"".join(out)


def acknowledgement(operation: int, app_id: str, namespace: str, version: int) -> bytes:
    """The order of this version is carried out."""
    said = text_field(b"\x2a", app_id) + text_field(b"\x42", namespace)
    return said + b"\x48" + varint(operation) + b"\x50" + varint(version)


# -- reading --


def order(data: bytes) -> Order:
    """Raises `Invalid`."""
    out = Order()
    version = ""
    for number, value in fields(data):
        if number == 1:
            version = _read_tables(octets(value), out)
        elif number == 2:
            out.operation = text(value)
        elif number == 3:
            out.version = signed(value) & 0xFFFF_FFFF_FFFF_FFFF
    if not out.version and version.isdecimal() and len(version) < _DIGITS:
        out.version = int(version)
    return out


def _read_tables(data: bytes, out: Order) -> str:
    """Members and replicas go into `out`; answers the version."""
    version = ""
    known: dict[bytes, tuple[str, str]] = {}
    for number, value in fields(data):
        if number == 1:
            _read_type(octets(value), out.members, known)
        elif number == 2:
            version = text(value)
        elif number == 4:
            out.replicas = signed(value)
    return version


def _read_type(data: bytes, members: dict[str, dict[str, str]], known: dict[bytes, tuple[str, str]]) -> None:
    name = ""
    hosts: dict[str, str] = {}
    for number, value in fields(data):
        if number == 1:
            name = text(value)
        elif number == 2:
            for inner, entry in fields(octets(value)):
                if inner == 3:
                    told = octets(entry)
                    host = known.get(told)
                    if host is None:
                        host = known[told] = _host(told)
                    hosts[host[0]] = host[1]
    members[name] = hosts


def _host(data: bytes) -> tuple[str, str]:
    """Name and app id of an entry of a table."""
    name = app_id = ""
    for number, value in fields(data):
        if number == 1:
            name = text(value)
        elif number == 2:
            for inner, said in fields(octets(value)):
                if inner == 5:
                    app_id = text(said)
    return name, app_id
