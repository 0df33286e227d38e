"""Calls and answers of service invocation that gRPC is part of: from a gRPC client, or to an app that speaks gRPC.

They are calls and answers like others, so that whoever does not care need not know: a call has the header fields
an HTTP app sees, an answer the status, fields and body that an HTTP client gets.
"""

import base64
import json
from collections.abc import Iterable, Sequence

from pydapr.app.channel import Answer, Call, Header
from pydapr.errors import Code
from pydapr.net.body import Body
from pydapr.wire import appcalls, grpc, tracecontext
from pydapr.wire import headers as names

HTTP_STATUS = {
    Code.OK: 200, Code.CANCELLED: 408, Code.INVALID_ARGUMENT: 400, Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404, Code.ALREADY_EXISTS: 409, Code.PERMISSION_DENIED: 403, Code.UNAUTHENTICATED: 401,
    Code.RESOURCE_EXHAUSTED: 429, Code.FAILED_PRECONDITION: 400, Code.ABORTED: 409, Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501, Code.UNAVAILABLE: 503,
}  # fmt: skip
"""What a gRPC code is in HTTP; 500 for those that are not here."""

PERMANENT = frozenset(
    b"""accept accept-charset accept-language accept-ranges connection keep-alive proxy-connection
    transfer-encoding upgrade cache-control content-type content-length cookie date expect from host if-match
    if-modified-since if-none-match if-schedule-tag-match if-unmodified-since max-forwards origin pragma referer
    via warning""".split()
)
"""Fields of HTTP itself, which become `dapr-...` in gRPC's metadata."""

_RESERVED = frozenset({b"content-type", b"user-agent", b"te", b"destination-app-id", b"content-length", b"host"})
_TEXT = (b"content-type", b"text/plain; charset=utf-8")


class RpcCall(Call):
    """A call that gRPC is part of. `metadata` is what the client sent, in base64 where the name ends in -bin."""

    __slots__ = ("metadata", "request")

    is_rpc = True

    def __init__(self, metadata: Sequence[Header], request: appcalls.Request, body: Body) -> None:
        verb, query = request.extension or (b"", b"")
        self.metadata = metadata
        self.request = request
        headers = [header for header in metadata if header[0] != b"content-type"]
        if request.content_type:
            headers.append((b"content-type", request.content_type))
        method = request.method.decode("utf-8", "surrogateescape")
        forwarded = names.forwardable(headers)
        if any(name in names.VOLATILE for name, _ in headers):
            forwarded = tracecontext.from_rpc(headers, forwarded)
        super().__init__(verb, method, query, forwarded, body, is_clean=True)


class RpcAnswer(Answer):
    """The answer of an app that speaks gRPC."""

    __slots__ = ("response",)

    def __init__(self, response: appcalls.Response) -> None:
        self.response = response
        status = HTTP_STATUS.get(Code(response.code), 500) if 0 <= response.code <= 16 else 500
        headers = [header for header in response.metadata if header[0] != b"content-type"]
        kind = b"application/x-protobuf" if response.type_url else response.content_type
        data = response.data
        if response.code != Code.OK:
            kind, data = b"", _as_json(response)
        headers.append((b"content-type", kind) if kind else _TEXT)
        super().__init__(status, names.forwardable(headers), Body.of(data))


def _as_json(response: appcalls.Response) -> bytes:
    """The status as protobuf's JSON has it; details are of types that this process need not know."""
    out: dict[str, object] = {}
    if response.code:
        out["code"] = response.code
    if response.message:
        out["message"] = response.message.decode("utf-8", "replace")
    return json.dumps(out, ensure_ascii=False, separators=(",", ":")).encode()


def padded(headers: Iterable[Header]) -> list[Header]:
    """Metadata as they came over the wire, with the -bin values in the base64 that sidecars use."""
    return [(name, _padded(value)) if name.endswith(b"-bin") else (name, value) for name, value in headers]


def _padded(value: bytes) -> bytes:
    try:
        return base64.b64encode(grpc.decode_binary(value))
    except ValueError:
        return value


def for_app(metadata: Iterable[Header], from_http: bool) -> list[Header]:
    """What of a call's metadata an app that speaks gRPC gets, names in lower case."""
    out = []
    for name, value in metadata:
        if from_http and name in PERMANENT and name not in (b"host", b"content-length"):
            out.append((b"dapr-" + name, value))
        elif name not in _RESERVED and name[:1] != b":" and not name.startswith(b"grpc-"):
            out.append((name, value.rstrip(b"=") if name.endswith(b"-bin") else value))
    return out


def for_client(metadata: Iterable[Header], from_http: bool) -> list[Header]:
    """What of an answer's metadata a gRPC client gets."""
    return for_app(metadata, from_http)
