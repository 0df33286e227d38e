"""Names and values of header fields: letter case, what is hop by hop, what may not be sent on.

Inside pydapr a name is lower-case bytes; HTTP/1.1 and the metadata between sidecars show it in Go's
canonical case (`Content-Type`), because that is what apps and the original see. Called by `wire.http1`,
`wire.invocation` and the invocation block. The two memos are bounded: a hostile peer cannot grow them.
"""

from collections.abc import Iterable

_BOUND = 4096
_LONGEST = 128

LOWER: dict[bytes, bytes] = {}
"""Names seen lately, as received, to lower case; on a miss ask `lower`."""

CANONICAL: dict[bytes, bytes] = {}
"""Lower-case names seen lately to canonical case; on a miss ask `canonical`."""

FRAMING: frozenset[bytes] = frozenset({b"content-length", b"transfer-encoding", b"upgrade", b"expect"})
"""Fields that decide where a message ends, or what comes after its head."""

HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade",
        b"http2-settings", b"te", b"trailer", b"proxy-authorization", b"proxy-authenticate",
    }
)  # fmt: skip
"""RFC 9110 section 7.6.1, and the list of the original (v1.18.3)."""


TRACE: frozenset[bytes] = frozenset({b"traceparent", b"tracestate", b"baggage"})
"""What a client says of the trace that its request is part of (W3C)."""

VOLATILE: frozenset[bytes] = frozenset({b"traceparent", b"tracestate", b"grpc-trace-bin"})
"""Fields whose values are hardly ever the same twice: whoever remembers fields does not remember these."""

KEPT_OR_CLOSED = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Close"})
"""Values of Connection that name no other field."""


def lower(name: bytes) -> bytes:
    """`name` in lower case, remembered."""
    result = name.lower()
    if len(name) <= _LONGEST:
        if len(LOWER) >= _BOUND:
            LOWER.clear()
        LOWER[name] = result
    return result


def canonical(name: bytes) -> bytes:
    """`name` with the first letter and each letter after a hyphen in upper case, remembered."""
    result = b"-".join(part[:1].upper() + part[1:].lower() for part in name.split(b"-"))
    if len(name) <= _LONGEST:
        if len(CANONICAL) >= _BOUND:
            CANONICAL.clear()
        CANONICAL[name] = result
    return result


def named_by_connection(value: bytes) -> frozenset[bytes]:
    """The names that a Connection field declares to be hop by hop, lower-case."""
    return frozenset(token for part in value.split(b",") if (token := part.strip().lower()))


def first(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The first value of `name` (lower-case), or None."""
    for key, value in headers:
        if key == name:
            return value
    return None


def is_clean(value: bytes) -> bool:
    """Whether `value` can stand in a head: no CR, LF or NUL."""
    return b"\r" not in value and b"\n" not in value and b"\0" not in value


_forwarded: dict[bytes, bytes | None] = {}


def _classify(name: bytes) -> bytes | None:
    """What `name` is called behind the gateway, None when it stays in front of it."""
    result: bytes | None = name
    if name in HOP_BY_HOP or name in _OWN or name.endswith(b"-bin"):
        result = None
    elif name.startswith(b"grpc-"):
        result = b"dapr-" + name
    elif name[:1] == b":":
        result = b"dapr-" + name[1:]  # of a gRPC client
    if len(name) <= _LONGEST:
        if len(_forwarded) >= _BOUND:
            _forwarded.clear()
        _forwarded[name] = result
    return result


_OWN = frozenset({b"host", b"content-length", b"destination-app-id"})


def forwardable(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """`headers` without what concerns one hop only, or what is said anew for the next one.

    Dropped: hop-by-hop fields, those that Connection names, Host, Content-Length and binary gRPC metadata;
    `grpc-*` is renamed `dapr-grpc-*` (the original, v1.18.3, `pkg/messaging/v1/util.go`).
    """
    out = []
    connection = None
    for header in headers:
        name, value = header
        try:
            to = _forwarded[name]
        except KeyError:
            to = _classify(name)
        if to is name:
            out.append(header)
        elif to is not None:
            out.append((to, value))
        elif name == b"connection":
            connection = value if connection is None else connection + b"," + value
    if connection is not None and connection not in KEPT_OR_CLOSED:
        named = named_by_connection(connection)
        out = [header for header in out if header[0] not in named]
    return out
