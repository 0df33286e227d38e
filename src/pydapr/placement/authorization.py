"""Who may report what: a sidecar speaks for itself, and only it hosts the types that Dapr keeps for it.

Used by `service` for every message. Codes and texts are the original's (v1.18.3,
`pkg/placement/internal/authorizer`).
"""

from typing import TYPE_CHECKING

from pydapr.errors import Code, RpcError
from pydapr.placement import rounds

if TYPE_CHECKING:
    from pydapr.proto.dapr.proto.placement.v1.placement_pb2 import Host
    from pydapr.security import spiffe

_RESERVED = ["dapr", "internal"]

MOST_BYTES = 1 << 20
"""That one sidecar may add to the table, which has its name and app id once for each of its types, and goes to all.
Some 5,000 types; the original's sidecars take tables of 4 MB."""

_OF_A_TYPE = 32
"""Bytes of an entry beside its names, give or take some."""


def client(identity: str) -> "spiffe.Id":
    """Who calls, by the name in its certificate. Raises `RpcError`."""
    from pydapr.security import spiffe  # needed only with mTLS

    try:
        return spiffe.parse(identity)
    except spiffe.Malformed:
        raise RpcError(Code.UNAUTHENTICATED, "failed to get client ID from context") from None


def check(host: "Host", identity: "spiffe.Id | None") -> None:
    """Whether `identity`, None where nobody shows one, may say this. Raises `RpcError`."""
    if host.operation == rounds.UNKNOWN and host.HasField("version"):
        raise RpcError(Code.INVALID_ARGUMENT, "both operation and version must be set or both must be unset")
    if not (host.id and host.namespace):
        raise RpcError(Code.INVALID_ARGUMENT, "host ID and namespace must be provided")
    if identity is not None:
        _check_identity(host, identity)
    names = 2 * len(host.name) + len(host.id) + len(host.namespace) + _OF_A_TYPE
    adds = sum(map(len, host.entities)) + names * max(len(host.entities), 1)
    if adds > MOST_BYTES:
        text = f"{len(host.entities)} types of actors, with these names, make {adds} bytes of {MOST_BYTES}"
        raise RpcError(Code.RESOURCE_EXHAUSTED, text)
    for entity in host.entities:
        parts = entity.split(".")
        if parts[:2] == _RESERVED and parts[2:4] != [host.namespace, host.id]:
            text = f"entity {entity} is not allowed for app ID {host.id} in namespace {host.namespace}"
            raise RpcError(Code.PERMISSION_DENIED, text)


def _check_identity(host: "Host", identity: "spiffe.Id") -> None:
    for what, said, shown in (
        ("app ID", host.id, identity.app_id),
        ("client namespace", host.namespace, identity.namespace),
    ):
        if said != shown:
            text = f"provided {what} {said} doesn't match the one in the SPIFFE ID ({shown})"
            raise RpcError(Code.PERMISSION_DENIED, text)
