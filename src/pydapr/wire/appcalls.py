"""Calls of apps that speak gRPC: `common.v1.InvokeRequest`, `InvokeResponse`, and what sidecars say of their answers.

Written and read by hand like the rest in `wire.invocation`, so that a sidecar needs no protobuf library to invoke.
Called by `app.grpc`, `peers.sidecar`, `api.internal` and `api.grpc.invoke`.
"""

from collections.abc import Iterable, Sequence

from pydapr.wire.invocation import VERB_NUMBERS, VERBS, Header, Invalid, escape_query, field, fields, octets, varint

__all__ = ["Invalid", "Request", "Response"]


class Request:
    """`common.v1.InvokeRequest`. `extension` is verb and query, None when there is none."""

    __slots__ = ("content_type", "data", "extension", "method", "type_url")

    def __init__(
        self,
        method: bytes = b"",
        data: bytes = b"",
        type_url: bytes = b"",
        content_type: bytes = b"",
        extension: tuple[bytes, bytes] | None = None,
    ) -> None:
        self.method = method
        self.data = data
        self.type_url = type_url
        self.content_type = content_type
        self.extension = extension

    def encode(self) -> bytes:
        out = field(b"\x0a", self.method) if self.method else b""
        if self.data or self.type_url:
            out += field(b"\x12", _any(self.type_url, self.data))
        if self.content_type:
            out += field(b"\x1a", self.content_type)
        if self.extension is not None:
            verb, query = self.extension
            number = VERB_NUMBERS.get(verb, 0)
            inner = b"\x08" + varint(number) if number else b""
            out += field(b"\x22", inner + field(b"\x12", query) if query else inner)
        return out

    @staticmethod
    def decode(data: bytes) -> "Request":
        """Raises `Invalid`."""
        out = Request()
        for number, value in fields(data):
            if number == 1:
                out.method = octets(value)
            elif number == 2:
                out.type_url, out.data = _parts(octets(value))
            elif number == 3:
                out.content_type = octets(value)
            elif number == 4:
                out.extension = _extension(octets(value))
        return out


class Response:
    """What an app that speaks gRPC answered: its status, metadata, trailers and `common.v1.InvokeResponse`.

    `details` are the `details` fields of a google.rpc.Status as they stand; -bin values are in base64.
    """

    __slots__ = ("code", "content_type", "data", "details", "message", "metadata", "trailers", "type_url")

    def __init__(self, code: int = 0, message: bytes = b"", details: bytes = b"") -> None:
        self.code = code
        self.message = message
        self.details = details
        self.metadata: list[Header] = []
        self.trailers: list[Header] = []
        self.data = self.type_url = self.content_type = b""

    def encode_message(self) -> bytes:
        """The `common.v1.InvokeResponse`."""
        out = field(b"\x0a", _any(self.type_url, self.data)) if self.data or self.type_url else b""
        return out + field(b"\x12", self.content_type) if self.content_type else out

    def decode_message(self, data: bytes) -> None:
        """Reads a `common.v1.InvokeResponse`. Raises `Invalid`."""
        for number, value in fields(data):
            if number == 1:
                self.type_url, self.data = _parts(octets(value))
            elif number == 2:
                self.content_type = octets(value)

    def encode_status(self) -> bytes:
        """The `internals.v1.Status`, which has the fields of a google.rpc.Status."""
        out = b"\x08" + varint(self.code) if self.code else b""
        return (out + field(b"\x12", self.message) if self.message else out) + self.details

    def encode(self, with_data: bool) -> bytes:
        """The `internals.v1.InternalInvokeResponse`; in streams the data go apart."""
        message = field(b"\x0a", field(b"\x0a", self.type_url)) if self.type_url else b""
        message += field(b"\x12", self.content_type) if self.content_type else b""
        return b"".join(
            [
                field(b"\x0a", self.encode_status()),
                *[_entry(b"\x12", header) for header in _grouped(self.metadata)],
                *[_entry(b"\x1a", header) for header in _grouped(self.trailers)],
                field(b"\x22", self.encode_message() if with_data else message),
            ]
        )

    @staticmethod
    def decode(data: bytes) -> "Response":
        """Reads an `internals.v1.InternalInvokeResponse`. Raises `Invalid`."""
        out = Response()
        for number, value in fields(data):
            if number == 1:
                out.read_status(octets(value))
            elif number == 2:
                out.metadata += [(name.lower(), item) for name, item in entry(octets(value))]
            elif number == 3:
                out.trailers += [(name.lower(), item) for name, item in entry(octets(value))]
            elif number == 4:
                out.decode_message(octets(value))
        return out

    def read_status(self, data: bytes) -> None:
        """Reads a google.rpc.Status or an `internals.v1.Status`. Raises `Invalid`."""
        details = [self.details]
        for number, value in fields(data):
            if number == 1 and isinstance(value, int):
                self.code = value
            elif number == 2:
                self.message = octets(value)
            elif number == 3:
                details.append(field(b"\x1a", octets(value)))
        self.details = b"".join(details)


def metadata_of(request: bytes) -> list[Header]:
    """The metadata of an `InternalInvokeRequest`; the names in the case they have. Raises `Invalid`."""
    return [header for number, value in fields(request) if number == 2 for header in entry(octets(value))]


def entry(data: bytes) -> list[Header]:
    """One entry of a metadata map, a pair for each of its values. Raises `Invalid`."""
    key, values = b"", []
    for number, value in fields(data):
        if number == 1:
            key = octets(value)
        elif number == 2:
            values = [octets(item) for n, item in fields(octets(value)) if n == 1]
    return [(key, value) for value in values]


def entries(headers: Iterable[Header]) -> bytes:
    """`headers` as the metadata map of a request; the names keep their case."""
    return b"".join([_entry(b"\x12", header) for header in _grouped(headers)])


def invoke_service(data: bytes) -> tuple[bytes, Request | None]:
    """App id and message of a `runtime.v1.InvokeServiceRequest`. Raises `Invalid`."""
    target, message = b"", None
    for number, value in fields(data):
        if number == 1:
            target = octets(value)
        elif number == 3:
            message = Request.decode(octets(value))
    return target, message


def _grouped(headers: Iterable[Header]) -> Iterable[tuple[bytes, Sequence[bytes]]]:
    groups: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        groups.setdefault(name, []).append(value)
    return groups.items()


def _entry(tag: bytes, header: tuple[bytes, Sequence[bytes]]) -> bytes:
    listed = b"".join([field(b"\x0a", value) for value in header[1]])
    return field(tag, field(b"\x0a", header[0]) + field(b"\x12", listed))


def _any(type_url: bytes, data: bytes) -> bytes:
    out = field(b"\x0a", type_url) if type_url else b""
    return out + field(b"\x12", data) if data else out


def _parts(data: bytes) -> tuple[bytes, bytes]:
    parts = {number: octets(value) for number, value in fields(data) if number in (1, 2)}
    return parts.get(1, b""), parts.get(2, b"")


def _extension(data: bytes) -> tuple[bytes, bytes]:
    verb, query = b"", b""
    for number, value in fields(data):
        if number == 1 and isinstance(value, int):
            verb = VERBS[value] if value < len(VERBS) else b""
        elif number == 2:
            query = escape_query(octets(value))
    return verb, query
