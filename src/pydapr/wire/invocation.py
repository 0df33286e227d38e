"""What two sidecars say to each other to invoke an app: the messages of `dapr.proto.internals.v1`.

Called by `peers.sidecar` and `api.internal`. The messages are few, stand on the hottest path and carry
header fields whose bytes need not be text, so they are written and read here without a protobuf library:
a metadata entry seen before costs one dict lookup. `proto/dapr/proto/internals/v1/service_invocation.proto`
is the contract; tests hold this file against what protobuf itself makes of it.
"""

from collections.abc import Collection, Mapping, Sequence
from struct import Struct

from pydapr.wire import headers as names
from pydapr.wire import tracecontext

Header = tuple[bytes, bytes]

VERBS = (
    b"", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH",
)  # fmt: skip
"""`common.v1.HTTPExtension.Verb` by number; 0 is NONE."""

VERB_NUMBERS = {verb: number for number, verb in enumerate(VERBS)}

_BOUND = 4096
_LONGEST = 512
_MESSAGE_BOUND = 512
_MESSAGE_LONGEST = 4096
_MOST_DIGITS = 18
"""Of a length."""

_encoded: dict[Header, bytes] = {}
_sent_on: dict[Header, bytes] = {}
_decoded: dict[bytes, tuple[Header, ...]] = {}
_requests: "dict[bytes, Request]" = {}
_responses: "dict[bytes, Response]" = {}


class Invalid(Exception):
    """The bytes are not the message they should be."""


class Request:
    """`InternalInvokeRequest`. Shared between calls that look the same: never changed.

    `headers` are those fit for the app, Content-Type among them; `has_metadata` tells whether there were any
    at all, `content_length` what they say of the body's size, None without.
    """

    __slots__ = (
        "actor", "content_length", "data", "has_message", "has_metadata", "headers", "method", "query",
        "says_trace", "type_url", "verb", "version",
    )  # fmt: skip

    def __init__(self) -> None:
        self.version = 0
        self.headers: list[Header] = []
        self.has_metadata = self.has_message = self.says_trace = False
        self.content_length: int | None = None
        self.method = b""
        self.data = b""
        self.type_url = b""
        self.verb = -1
        """Number in `VERBS`; -1 when the message has no HTTP extension."""
        self.query = b""
        self.actor: tuple[bytes, bytes] | None = None


class Response:
    """`InternalInvokeResponse`. Shared between answers that look the same: never changed.

    `headers` are those fit for the client, Content-Type among them.
    """

    __slots__ = ("code", "content_length", "data", "details", "has_status", "headers", "message", "type_url")

    def __init__(self) -> None:
        self.has_status = False
        self.code = 0
        """An HTTP status, or a gRPC code when the app speaks gRPC (below 100)."""
        self.message = b""
        self.details = b""
        """The `details` fields of the status as they stood."""
        self.headers: list[Header] = []
        self.content_length: bytes | None = None
        """What the app said of the length in answer to HEAD."""
        self.data = b""
        self.type_url = b""


# -- writing --


def varint(value: int) -> bytes:
    """A base-128 number, not negative."""
    if value < _TABLE:
        return _SHORT[value]
    return _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_TABLE = 2048
_SHORT = [_varint(n) for n in range(_TABLE)]


def field(tag: bytes, value: bytes) -> bytes:
    """A length-delimited field; `tag` is its whole first byte."""
    size = len(value)
    return tag + (_SHORT[size] if size < _TABLE else _varint(size)) + value


def text_field(tag: bytes, text: str) -> bytes:
    """A field of text; nothing when it is empty, which is how protobuf has it."""
    return given_text(tag, text) if text else b""


def given_text(tag: bytes, text: str) -> bytes:
    """A field of text that stands there when it is empty, too: one of several, or one that may be missing."""
    return field(tag, text.encode("utf-8", "replace"))


def _entry(name: bytes, values: Sequence[bytes]) -> bytes:
    key = names.CANONICAL.get(name) or names.canonical(name)
    listed = b"".join([field(b"\x0a", value) for value in values])
    return field(b"\x12", field(b"\x0a", key) + field(b"\x12", listed))


def literal_entry(key: bytes, value: bytes) -> bytes:
    """One metadata entry whose key keeps the letter case it has."""
    return field(b"\x12", field(b"\x0a", key) + field(b"\x12", field(b"\x0a", value)))


def entries(headers: Sequence[Header]) -> bytes:
    """`headers` as the metadata map: keys in canonical case, repeated names under one key in their order."""
    return _entries(headers, dict(headers))


def _entries(headers: Sequence[Header], by_name: Mapping[bytes, bytes]) -> bytes:
    if len(by_name) != len(headers):
        return _grouped(headers)
    return b"".join([_encoded.get(header) or _encode(header) for header in headers])


def metadata(headers: Sequence[Header], fields: Mapping[bytes, bytes], apart: Collection[bytes]) -> bytes | None:
    """Those of `headers` that may be sent on, as `entries` would have them; Content-Length stays.

    `fields` is `dict(headers)`. None when that takes a closer look: a name stands twice or is one of `apart`,
    or Connection names others.
    """
    if len(fields) != len(headers) or not fields.keys().isdisjoint(apart):
        return None
    if fields.get(b"connection", b"close") not in names.KEPT_OR_CLOSED:
        return None
    out = []
    for header in headers:
        entry = _sent_on.get(header)
        if entry is None:
            entry = _send_on(header)
        out.append(entry)
    return b"".join(out)


def _send_on(header: Header) -> bytes:
    """The entry of a client's header field, b"" when it is not sent on; remembered."""
    kept = [header] if header[0] == b"content-length" else names.forwardable((header,))
    entry = _entry(kept[0][0], (kept[0][1],)) if kept else b""
    if len(entry) <= _LONGEST and header[0] not in names.VOLATILE:
        if len(_sent_on) >= _BOUND:
            _sent_on.clear()
        _sent_on[header] = entry
    return entry


def _encode(header: Header) -> bytes:
    entry = _entry(header[0], (header[1],))
    if len(entry) <= _LONGEST and header[0] not in names.VOLATILE:
        if len(_encoded) >= _BOUND:
            _encoded.clear()
        _encoded[header] = entry
    return entry


def _grouped(headers: Sequence[Header]) -> bytes:
    groups: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        groups.setdefault(name, []).append(value)
    return b"".join([_entry(name, values) for name, values in groups.items()])


def encode_request(metadata: bytes, method: bytes, content_type: bytes, verb: int, query: bytes) -> bytes:
    """An `InternalInvokeRequest` without data; `metadata` comes from `entries` and `literal_entry`."""
    extension = b"\x08" + _SHORT[verb] if verb else b""
    if query:
        extension += field(b"\x12", query)
    message = field(b"\x0a", method) if method else b""
    if content_type:
        message += field(b"\x1a", content_type)
    message += field(b"\x22", extension)
    return b"\x08\x01" + metadata + field(b"\x1a", message)


def encode_response(code: int, headers: Sequence[Header], data: bytes = b"") -> bytes:
    """An `InternalInvokeResponse`; the content type is taken from `headers`. `data` only for the unary call."""
    status = b"\x08" + _SHORT[code] if code else b""
    message = field(b"\x0a", field(b"\x12", data)) if data else b""
    fields_by_name = dict(headers)
    content_type = fields_by_name.get(b"content-type")
    if content_type:
        message += field(b"\x12", content_type)
    return field(b"\x0a", status) + _entries(headers, fields_by_name) + field(b"\x22", message)


def stream_frame(leading: bytes, data: bytes, sequence: int) -> bytes:
    """An `InternalInvokeRequestStream` or `...ResponseStream` as a gRPC frame, joined once.

    `leading` is the encoded request or response, or b""; `data` the payload, which may be empty.
    """
    parts = [b""]
    if leading:
        parts += (b"\x0a", varint(len(leading)), leading)
    if data:
        size = varint(len(data))
        number = b"\x10" + varint(sequence) if sequence else b""
        parts += (b"\x12", varint(len(data) + len(size) + len(number) + 1), b"\x0a", size, data, number)
    parts[0] = _prefix(0, sum(map(len, parts)))
    return b"".join(parts)


_prefix = Struct(">BI").pack

_TRACE_ENTRY = b"\x12\x48\x0a\x0bTraceparent\x12\x39\x0a\x37"
_TRACE_SIZE = len(_TRACE_ENTRY) + 55


def trace_entry(traceparent: bytes) -> bytes:
    """A client's `traceparent` as a metadata entry for the end of a request, where `decode_traced` looks for it.

    It is new each time, and the request before it is often the same.
    """
    return _TRACE_ENTRY + traceparent if len(traceparent) == 55 else _entry(b"traceparent", (traceparent,))


# -- reading --


def _number(data: bytes, pos: int) -> tuple[int, int]:
    """The base-128 number at `pos`, and where it ends."""
    result = data[pos]
    if result < 0x80:
        return result, pos + 1
    result = shift = 0
    while True:
        byte = data[pos]
        pos += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, pos
        shift += 7
        if shift > 63:
            raise Invalid("number too long")


def fields(data: bytes) -> list[tuple[int, bytes | int]]:
    """The fields of a message as (number, value), groups refused. Raises `Invalid`."""
    out: list[tuple[int, bytes | int]] = []
    pos, end = 0, len(data)
    try:
        while pos < end:
            tag, pos = _number(data, pos)
            kind = tag & 7
            if kind == 2:
                size, pos = _number(data, pos)
                if pos + size > end:
                    raise Invalid("field longer than its message")
                out.append((tag >> 3, data[pos : pos + size]))
                pos += size
            elif kind == 0:
                number, pos = _number(data, pos)
                out.append((tag >> 3, number))
            elif kind in (1, 5):
                pos += 8 if kind == 1 else 4
                if pos > end:
                    raise Invalid("field longer than its message")
            else:
                raise Invalid(f"unknown wire type {kind}")
    except IndexError:
        raise Invalid("message ends within a field") from None
    return out


def octets(value: bytes | int) -> bytes:
    """The bytes of a field. Raises `Invalid` when it is a number."""
    if isinstance(value, int):
        raise Invalid("a number where bytes are due")
    return value


def text(value: bytes | int) -> str:
    """The text of a field. Raises `Invalid`."""
    try:
        return octets(value).decode()
    except UnicodeDecodeError:
        raise Invalid("text that is no UTF-8") from None


def signed(value: bytes | int) -> int:
    """The number of a field that may be negative. Raises `Invalid` when it is bytes."""
    number = _int(value) & 0xFFFF_FFFF_FFFF_FFFF
    return number - (1 << 64) if number >> 63 else number


def _int(value: bytes | int) -> int:
    if not isinstance(value, int):
        raise Invalid("bytes where a number is due")
    return value


def _decode_entry(entry: bytes) -> tuple[Header, ...]:
    """One key and its values. The plain form, a short key with one short value, is cut without a walk."""
    headers = _cut_entry(entry) or _walk_entry(entry)
    if len(entry) <= _LONGEST and not (headers and headers[0][0] in names.VOLATILE):
        if len(_decoded) >= _BOUND:
            _decoded.clear()
        _decoded[entry] = headers
    return headers


def _cut_entry(entry: bytes) -> tuple[Header, ...]:
    size = len(entry)
    if not 4 < size < 0x80 or entry[0] != 0x0A:
        return ()
    at = 2 + entry[1]
    # What follows the key: its values, of which there is one, and that is the rest.
    if at + 4 > size or entry[at] != 0x12 or entry[at + 2] != 0x0A or entry[at + 3] != size - at - 4:
        return ()
    if entry[at + 1] != size - at - 2:
        return ()
    key = entry[2:at]
    return ((names.LOWER.get(key) or names.lower(key), entry[at + 4 :]),)


def _walk_entry(entry: bytes) -> tuple[Header, ...]:
    key = b""
    values: list[bytes] = []
    for number, value in fields(entry):
        if number == 1:
            key = octets(value)
        elif number == 2:
            values = [octets(item) for n, item in fields(octets(value)) if n == 1]
    name = names.LOWER.get(key) or names.lower(key)
    return tuple([(name, value) for value in values])


def _take_map(data: bytes, tag: int) -> tuple[list[Header], list[tuple[int, bytes | int]]]:
    """The entries of the map field with this one-byte tag, and all other fields. Raises `Invalid`."""
    headers: list[Header] = []
    others: list[tuple[int, bytes | int]] = []
    decoded = _decoded
    pos, end = 0, len(data)
    try:
        while pos < end:
            start, kind = pos + 2, data[pos]
            size = data[pos + 1]
            if size > 0x7F:
                size, start = _number(data, pos + 1)
            if kind == tag:
                pos = start + size
                entry = data[start:pos]
                headers += decoded.get(entry) or _decode_entry(entry)
            elif kind & 0x87 == 2:
                pos = start + size
                others.append((kind >> 3, data[start:pos]))
            elif kind & 0x87 == 0:
                pos = start
                others.append((kind >> 3, size))
            else:
                others += fields(data[pos:])
                break
    except IndexError:
        raise Invalid("message ends within a field") from None
    if pos > end:
        raise Invalid("field longer than its message")
    return headers, others


def decode_traced(data: bytes) -> tuple[Request, bytes]:
    """An `InternalInvokeRequest` without what `trace_entry` has put at its end, and that. Raises `Invalid`."""
    at = len(data) - _TRACE_SIZE
    if at > 0 and data.startswith(_TRACE_ENTRY, at):
        try:
            return decode_request(data[:at]), data[at + len(_TRACE_ENTRY) :]
        except Invalid:
            pass  # the same bytes are the end of something else
    return decode_request(data), b""


def decode_request(data: bytes) -> Request:
    """An `InternalInvokeRequest`. Raises `Invalid`."""
    known = _requests.get(data)
    if known is not None:
        return known
    request = Request()
    content_type = b""
    metadata, others = _take_map(data, 0x12)
    for number, value in others:
        if number == 3:
            request.has_message = True
            content_type = _decode_message(request, octets(value)) or content_type
        elif number == 1:
            request.version = _int(value)
        elif number == 4:
            actor = {n: octets(v) for n, v in fields(octets(value)) if n in (1, 2)}
            request.actor = (actor.get(1, b""), actor.get(2, b""))
        elif number == 2:
            metadata += _decode_entry(octets(value))
    request.has_metadata = bool(metadata)
    length = names.first(metadata, b"content-length")
    if length is not None and length.isdigit() and len(length) <= _MOST_DIGITS:
        request.content_length = int(length)
    request.headers = _with_content_type(metadata, content_type)
    request.says_trace = not names.VOLATILE.isdisjoint(dict(metadata))
    if len(data) <= _MESSAGE_LONGEST and not request.data and not request.says_trace:
        if len(_requests) >= _MESSAGE_BOUND:
            _requests.clear()
        _requests[data] = request
    return request


def _with_content_type(metadata: list[Header], content_type: bytes) -> list[Header]:
    """What may be sent on; the type of the body is what the message says, not what the metadata say.

    What a gRPC client says of a trace counts in its own form only, as with the original.
    """
    headers = [header for header in names.forwardable(metadata) if header[0] != b"content-type"]
    if (names.first(metadata, b"content-type") or b"").startswith(b"application/grpc"):
        headers = tracecontext.from_rpc(metadata, headers)
    if content_type:
        headers.append((b"content-type", content_type))
    return headers


def _decode_message(request: Request, data: bytes) -> bytes:
    """Reads `common.v1.InvokeRequest` into `request`; the content type."""
    content_type = b""
    for number, value in fields(data):
        if number == 1:
            request.method = octets(value)
        elif number == 2:
            request.type_url, request.data = _decode_any(octets(value))
        elif number == 3:
            content_type = octets(value)
        elif number == 4:
            request.verb = max(request.verb, 0)
            for n, item in fields(octets(value)):
                if n == 1:
                    request.verb = _int(item)
                elif n == 2:
                    request.query = escape_query(octets(item))
    return content_type


def escape_query(query: bytes) -> bytes:
    """`query` without the blanks that would end it in a request line. Control characters are refused by `app.http`."""
    return query.replace(b" ", b"%20")


def _decode_any(data: bytes) -> tuple[bytes, bytes]:
    parts = {number: octets(value) for number, value in fields(data) if number in (1, 2)}
    return parts.get(1, b""), parts.get(2, b"")


def decode_response(data: bytes) -> Response:
    """An `InternalInvokeResponse`. Raises `Invalid`."""
    known = _responses.get(data)
    if known is not None:
        return known
    response = Response()
    content_type = b""
    metadata, others = _take_map(data, 0x12)
    for number, value in others:
        if number == 1:
            response.has_status = True
            _decode_status(response, octets(value))
        elif number == 4:
            for n, item in fields(octets(value)):
                if n == 1:
                    response.type_url, response.data = _decode_any(octets(item))
                elif n == 2:
                    content_type = octets(item)
        elif number == 2:
            metadata += _decode_entry(octets(value))
    length = names.first(metadata, b"content-length")
    is_length = length is not None and length.isdigit() and len(length) <= _MOST_DIGITS
    response.content_length = length if is_length else None
    response.headers = _with_content_type(metadata, content_type)
    if len(data) <= _MESSAGE_LONGEST and not response.data:
        if len(_responses) >= _MESSAGE_BOUND:
            _responses.clear()
        _responses[data] = response
    return response


def _decode_status(response: Response, data: bytes) -> None:
    details = [response.details]
    for number, value in fields(data):
        if number == 1:
            response.code = _int(value)
        elif number == 2:
            response.message = octets(value)
        elif number == 3:
            details.append(field(b"\x1a", octets(value)))
    response.details = b"".join(details)


def decode_stream(data: bytes) -> tuple[bytes, bytes | None, int]:
    """The leading part (b"" when there is none), the payload's bytes (None without payload) and its number.

    Raises `Invalid`. The plain form, both parts in order and the number left out, is cut without a walk.
    """
    size = len(data)
    leading = b""
    try:
        at = 0
        if data[0] == 0x0A:
            length, at = _number(data, 1)
            leading = data[at : at + length]
            at += length
            if at == size:
                return leading, None, 0
        if data[at] == 0x12:
            length, start = _number(data, at + 1)
            if start + length == size and data[start] == 0x0A:
                length, start = _number(data, start + 1)
                if start + length == size:
                    return leading, data[start:], 0
    except IndexError:
        pass
    return _walk_stream(data)


def _walk_stream(data: bytes) -> tuple[bytes, bytes | None, int]:
    leading, payload, sequence = b"", None, 0
    for number, value in fields(data):
        if number == 1:
            leading = octets(value)
        elif number == 2:
            payload = b""
            for n, item in fields(octets(value)):
                if n == 1:
                    payload = octets(item)
                elif n == 2:
                    sequence = _int(item)
    return leading, payload, sequence
