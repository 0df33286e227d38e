"""Trace context as it stands in messages: W3C's `traceparent` and `tracestate`, and gRPC's `grpc-trace-bin`.

Pure: bytes in, bytes out. `observe.tracing` decides what a trace's ids are; exchanges (`net`), calls (`app`) and other
sidecars (`peers`) carry a `Trace` from a request to what it causes, and do not look into it further than here.

A context is new with each request, so nothing here remembers one.
"""

import re
from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Sequence
from typing import Protocol

from pydapr.wire import headers as names
from pydapr.wire import hpack

Header = tuple[bytes, bytes]


class Recording(Protocol):
    """What is kept of a sampled request until it is exported."""

    def answered(self, status: int) -> None:
        """The head of an HTTP answer goes out."""

    def called(self, app_id: str, method: str) -> None:
        """The request is a call of an app."""

    def called_actor(self, actor_type: str, actor_id: str, method: str) -> None:
        """The request is a call of an actor."""

    def failed(self, reason: str) -> None:
        """The answer is a failure of gRPC."""


PARENT, STATE, BINARY, BAGGAGE = b"traceparent", b"tracestate", b"grpc-trace-bin", b"baggage"

NONE = b"00-00000000000000000000000000000000-0000000000000000-00"
"""What the original says when there is no context."""

LONGEST_STATE = 512

_ZERO_TRACE, _ZERO_SPAN = b"0" * 32, b"0" * 16
is_usual = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[0-3]").fullmatch
_any = re.compile(rb"([0-9a-fA-F]{2})-([0-9a-f]{32})-([0-9a-f]{16})-((?:[0-9a-fA-F]{2})+)(-.*)?", re.DOTALL).fullmatch

is_member = re.compile(
    rb"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    rb"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
).fullmatch
"""Whether this is one member of a `tracestate`."""

PARENT_FIELD = b"\x00\x0btraceparent\x37"
"""How a `traceparent` begins in a header block of ours; with its value it has `PARENT_SIZE` bytes."""
_BINARY_FIELD = b"\x00\x0egrpc-trace-bin\x27"
PARENT_SIZE = len(PARENT_FIELD) + 55
_BINARY_SIZE = len(_BINARY_FIELD) + 39
_PARENT_LINE = b"Traceparent: %b\r\n"


class Trace:
    """The context of one request: what goes on to the app, to other sidecars and back to the client.

    `record` is there when the request is sampled and a span of it is wanted.
    """

    __slots__ = ("record", "traceparent", "tracestate")

    is_known = True
    """Whether there are ids; without, `traceparent` is `NONE`."""
    baggage: bytes = b""
    """What the client sent of it, for the answer."""
    reply: bytes = b""
    """What stands in the head of an answer of gRPC besides, as a part of a header block."""

    def __init__(self, traceparent: bytes, tracestate: bytes = b"", record: Recording | None = None) -> None:
        self.traceparent = traceparent
        self.tracestate = tracestate
        self.record = record

    # -- an HTTP answer --

    def lines(self, status: int, headers: Sequence[Header]) -> bytes:
        """What the head of an HTTP/1.1 answer with `headers` says of it; the answer begins."""
        if self.record is not None:
            self.record.answered(status)
        if self.baggage or self.tracestate:
            return b"".join([b"%b: %b\r\n" % (name.title(), value) for name, value in self._fields(headers)])
        for name, _ in headers:
            if name == PARENT:
                return b""
        return _PARENT_LINE % self.traceparent

    def fields(self, status: int, headers: Sequence[Header]) -> list[Header]:
        """The same for HTTP/2."""
        if self.record is not None:
            self.record.answered(status)
        return self._fields(headers)

    def _fields(self, headers: Sequence[Header]) -> list[Header]:
        out = [(BAGGAGE, self.baggage)] if self.baggage else []
        if not any(name == PARENT for name, _ in headers):
            out.append((PARENT, self.traceparent))
            if self.tracestate:
                out.append((STATE, self.tracestate))
        return out

    # -- what goes on --

    def block(self) -> bytes:
        """The end of a header block, for another sidecar, which reads `traceparent` as well as `grpc-trace-bin`."""
        return PARENT_FIELD + self.traceparent if self.is_known else b""

    def both(self) -> bytes:
        """The same for a call that passes through, whose end is an app that may want either."""
        if not self.is_known:
            return b""
        parent = self.traceparent
        return b"%b%b%b%b" % (_BINARY_FIELD, binary_text(parent), PARENT_FIELD, parent)

    def metadata(self) -> list[Header]:
        """What gRPC's metadata say of it."""
        parent = self.traceparent
        state = [(STATE, self.tracestate)] if self.tracestate else []
        return [(PARENT, parent), *state, (BINARY, binary_text(parent))]

    def add_to(self, headers: list[Header]) -> None:
        """Has the header fields of a call over HTTP say this context in place of the client's."""
        for name, _ in headers:
            if name == PARENT:
                break
        else:
            headers.append((PARENT, self.traceparent))
            if not self.tracestate:
                return
        dropped = {STATE} if self.tracestate else set()
        if self.is_known:
            dropped.add(PARENT)
        headers[:] = [header for header in headers if header[0] not in dropped]
        if self.is_known:
            headers.append((PARENT, self.traceparent))
        if self.tracestate:
            headers.append((STATE, self.tracestate))


class Unknown(Trace):
    """A request that is part of no trace."""

    __slots__ = ()

    is_known = False


class Told(Trace):
    """A context whose answer says more than it itself."""

    __slots__ = ("baggage", "is_known", "reply")

    def __init__(self, trace: Trace, baggage: bytes, reply: bytes = b"") -> None:
        super().__init__(trace.traceparent, trace.tracestate, trace.record)
        self.is_known = trace.is_known
        self.baggage = baggage
        self.reply = reply


def parse(text: bytes) -> bytes:
    """A `traceparent` of version 00 that says the same as `text`; b"" when that is none.

    Flags that have no meaning yet are left out (W3C Trace Context, 3.2.2.5).
    """
    return text if is_usual(text) else _parse_unusual(text)


def _parse_unusual(text: bytes) -> bytes:
    match = _any(text)
    if match is None:
        return b""
    version, trace, span, flags, rest = match.groups()
    if version.lower() == b"ff" or (version == b"00" and rest is not None):
        return b""
    if trace == _ZERO_TRACE or span == _ZERO_SPAN:
        return b""
    return b"00-%b-%b-0%d" % (trace, span, int(flags[:2], 16) & 3)


def binary(traceparent: bytes) -> bytes:
    """`grpc-trace-bin` as bytes."""
    raw = bytes.fromhex(traceparent.replace(b"-", b"").decode())
    return b"\x00\x00%b\x01%b\x02%b" % (raw[1:17], raw[17:25], raw[25:])


def binary_text(traceparent: bytes) -> bytes:
    """`grpc-trace-bin` as it stands in a header, without padding: 39 characters."""
    return b2a_base64(binary(traceparent), newline=False)[:39]


def parse_binary(text: bytes) -> bytes:
    """The `traceparent` that says what `grpc-trace-bin`, in base64, does; b"" when it says nothing."""
    try:
        raw = a2b_base64(text + b"=" * (-len(text) % 4))
    except (Error, ValueError):
        return b""
    if len(raw) < 18 or raw[0] != 0 or raw[1] != 0:
        return b""
    trace, rest = raw[2:18].hex(), raw[18:]
    span = flags = b""
    if len(rest) >= 9 and rest[0] == 1:
        span, rest = rest[1:9], rest[9:]
        if len(rest) >= 2 and rest[0] == 2:
            flags = rest[1:2]
    return b"00-%b-%b-%b" % (trace.encode(), span.hex().encode() or _ZERO_SPAN, flags.hex().encode() or b"00")


def from_rpc(metadata: Sequence[Header], headers: Sequence[Header]) -> list[Header]:
    """`headers` made of a gRPC client's `metadata` for a call over HTTP: only `grpc-trace-bin` tells of its trace."""
    out = [header for header in headers if header[0] not in names.VOLATILE]
    text = names.first(metadata, BINARY)
    if text and (parent := parse_binary(text)):
        out.append((PARENT, parent))
    return out


def for_rpc_app(metadata: Sequence[Header], trace: Trace | None) -> list[Header]:
    """What a call to an app over gRPC says of the trace; `metadata` are those of the client.

    An app that speaks gRPC gets the client's own context if there is one, as with the original.
    """
    fields = dict(metadata)
    if fields.get(b"content-type", b"").startswith(b"application/grpc"):
        if text := fields.get(BINARY):
            parent = parse_binary(text)
            return [*([(PARENT, parent)] if parent else []), (BINARY, text.rstrip(b"="))]
    elif parent := parse(fields.get(PARENT, b"")):
        state = [(STATE, fields[STATE])] if fields.get(STATE) else []
        return [(PARENT, parent), *state, (BINARY, binary_text(parent))]
    return trace.metadata() if trace is not None else []


def for_rpc_client(metadata: Sequence[Header], trace: Trace) -> list[Header]:
    """What an answer that has `metadata` of an app says besides of the trace."""
    fields = trace.metadata()
    said = {name for name, _ in metadata}
    return [] if PARENT in said else [field for field in fields if field[0] not in said]


def split(block: bytes) -> tuple[bytes, bytes]:
    """A header block without what `Trace` has put at its end, and that, b"" when it is not there.

    Without it the block is one that has been seen before, as a rule, and needs no decoding. No value of a field can
    look like it, because it has bytes that may not stand in one.
    """
    at = len(block) - PARENT_SIZE
    if at <= 0 or not block.startswith(PARENT_FIELD, at):
        return block, b""
    if block.startswith(_BINARY_FIELD, at - _BINARY_SIZE):
        at -= _BINARY_SIZE
    return block[:at], block[at:]


def parent_of(apart: bytes) -> bytes:
    """The `traceparent` in what `split` has found, b"" when it is no good."""
    return parse(apart[-55:])


def reply_block(traceparent: bytes, baggage: bytes) -> bytes:
    """What the head of an answer of the gRPC API says: the context, and the client's baggage again."""
    out = b"%b%b" % (_BINARY_FIELD, binary_text(traceparent))
    return out + hpack.encode(((BAGGAGE, baggage),)) if baggage else out
