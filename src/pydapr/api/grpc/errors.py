"""Errors as the gRPC API answers them: a status, for some with details. Called by the faces and the router."""

from collections.abc import Sequence

from pydapr.errors import Code, DaprError, RpcError
from pydapr.observe import logging
from pydapr.wire import details, http1

log = logging.get("dapr.runtime.grpc.api")

DOMAIN = "dapr.io"
_LONGEST = 63
"""Bytes of a text in the details (google/rpc/error_details.proto)."""

_CODES = {
    400: Code.INTERNAL,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    408: Code.CANCELLED,
    409: Code.ALREADY_EXISTS,
    429: Code.RESOURCE_EXHAUSTED,
    500: Code.UNKNOWN,
    501: Code.UNIMPLEMENTED,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}


def rpc_error(error: DaprError) -> RpcError:
    """An error of a block as a status, with its details if it has any."""
    error = error.for_grpc()
    about = error.details
    if about is None:
        return RpcError(error.grpc, error.message)
    parts = []
    if about.violations:
        parts.append(details.bad_request(about.violations))
    if about.links:
        parts.append(details.help_links(about.links))
    if about.resource is not None:
        parts.append(details.resource_info(*about.resource, description=about.description))
    parts.append(details.error_info(about.reason, about.domain, about.metadata))
    return with_details(error.grpc, error.message, parts)


def unexpected(method: bytes, fault: Exception) -> RpcError:
    """A fault of ours as a status; the log has it, too."""
    log.error(f"Unexpected error while answering {method.decode('utf-8', 'replace')}: {fault!r}")
    return RpcError(Code.UNKNOWN, f"unexpected error: {fault!r}")


def with_details(code: int, message: str, parts: Sequence[details.Detail]) -> RpcError:
    """A status that tells more than its message."""
    return RpcError(code, message, details.encode_status(code, message, parts))


def from_http(status: int, text: str) -> RpcError | None:
    """What an HTTP status means in gRPC, None for one that is a success; `text` says more (v1.18.3, `util.go`)."""
    if 200 <= status < 300:
        return None
    reason = http1.REASONS.get(status, b"").decode()
    told = text.encode("utf-8", "replace")[:_LONGEST].decode("utf-8", "replace")
    info = details.error_info(reason, DOMAIN, {"http.code": str(status), "http.error_message": told})
    return with_details(_CODES.get(status, Code.UNKNOWN), reason, [info])


def refusal(status: int, text: str) -> RpcError:
    """`from_http` for a status that is no success."""
    error = from_http(status, text)
    assert error is not None
    return error
