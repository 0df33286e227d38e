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
