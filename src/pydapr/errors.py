"""Every error that the API can answer: a class per meaning, with HTTP status, gRPC code and error code.

Raised by blocks, worded and encoded by the faces (`api.http.errors`, `api.grpc`). Messages are Dapr's own,
since programs match them (v1.18.3, `pkg/messages/predefined.go`).
"""

from enum import IntEnum


class Code(IntEnum):
    """gRPC's status codes (grpc/doc/statuscodes.md)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


_GO_NAMES = {Code.OK: "OK", Code.CANCELLED: "Canceled"}


def go_name(code: int) -> str:
    """The name that grpc-go prints for `code`: `Unavailable`, `NotFound`, `Code(77)`."""
    try:
        known = Code(code)
    except ValueError:
        return f"Code({code})"
    return _GO_NAMES.get(known) or known.name.title().replace("_", "")


class RpcError(Exception):
    """A gRPC status other than OK, received or about to be sent.

    `str()` is grpc-go's text, because it stands inside the messages that the original answers.
    """

    def __init__(self, code: int, message: str, details: bytes = b"") -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, details

    def __str__(self) -> str:
        return f"rpc error: code = {go_name(self.code)} desc = {self.message}"


class DaprError(Exception):
    """An answer of the API that is an error.

    `status` is the HTTP status, `grpc` the gRPC code, `code` the `errorCode` in the body, `category` the part of
    the API that metrics of errors count it under.
    """

    status = 500
    grpc = Code.INTERNAL
    code = "ERROR"
    category = "common"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvokeFailed(DaprError):
    """A service could not be invoked: not found, not reached, or the call broke before an answer began."""

    code = "ERR_DIRECT_INVOKE"
    category = "service-invocation"


class InvokeDenied(InvokeFailed):
    """The callee's access rules refuse the call. Only HTTP has a status of its own for it, as with the original."""

    status = 403


class NoTarget(InvokeFailed):
    """No app id stands in the path, the `dapr-app-id` header or the user information of the URL."""

    status = 404
    grpc = Code.NOT_FOUND

    def __init__(self) -> None:
        super().__init__("failed getting app id either from the URL path or the header dapr-app-id")


class NotReady(DaprError):
    """Some part of the sidecar is not ready; `targets` names which."""

    code = "ERR_HEALTH_NOT_READY"
    category = "health"

    def __init__(self, targets: str) -> None:
        super().__init__(f"dapr is not ready: [{targets}]")


class OutboundNotReady(DaprError):
    """Components are not loaded yet, so the app cannot use the sidecar."""

    code = "ERR_OUTBOUND_HEALTH_NOT_READY"
    category = "health"

    def __init__(self) -> None:
        super().__init__("dapr outbound is not ready")


class WrongAppId(DaprError):
    """The health check asked for another app than the one beside this sidecar."""

    code = "ERR_HEALTH_APPID_NOT_MATCH"
    category = "health"

    def __init__(self) -> None:
        super().__init__("dapr app-id does not match")


class BodyUnreadable(DaprError):
    """The body of a request could not be read, most often because it is over the limit."""

    status = 400
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_BODY_READ"

    def __init__(self, reason: str) -> None:
        super().__init__(f"failed to read request body: {reason}")


class TooManyAttributes(DaprError):
    """The metadata hold as many attributes as they may."""

    status = 400
    grpc = Code.RESOURCE_EXHAUSTED
    code = "ERR_BAD_REQUEST"

    def __init__(self, most: int) -> None:
        super().__init__(f"invalid request: metadata hold no more than {most} attributes")


class SecretStoresNotConfigured(DaprError):
    """There is no secret store at all."""

    grpc = Code.FAILED_PRECONDITION
    code = "ERR_SECRET_STORES_NOT_CONFIGURED"
    category = "secret"

    def __init__(self) -> None:
        super().__init__("secret store is not configured")


class SecretStoreNotFound(DaprError):
    """There is no secret store of this name."""

    status = 401
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_SECRET_STORE_NOT_FOUND"
    category = "secret"

    def __init__(self, name: str) -> None:
        super().__init__(f"failed finding secret store with key {name}")


class SecretDenied(DaprError):
    """The Configuration does not let the app read this secret."""

    status = 403
    grpc = Code.PERMISSION_DENIED
    code = "ERR_PERMISSION_DENIED"
    category = "secret"


class SecretFailed(DaprError):
    """The store has no such secret, or could not be asked."""

    code = "ERR_SECRET_GET"
    category = "secret"


class Internal(DaprError):
    """A fault of pydapr itself; the log tells more."""

    code = "ERR_INTERNAL"
