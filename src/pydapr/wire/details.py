"""Rich error details: google.rpc.Status and the messages that travel in it, written and read by hand.

Called by the faces when an error has more to tell than its text. Four small messages do not justify the import
of protobuf, which each process would pay for at its start. The field numbers are those of
google/rpc/status.proto and google/rpc/error_details.proto.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

_TYPES = "type.googleapis.com/google.rpc."


class Detail(NamedTuple):
    """A google.protobuf.Any."""

    type_url: str
    value: bytes


class RichStatus(NamedTuple):
    """A google.rpc.Status."""

    code: int
    message: str
    details: list[Detail]


def encode_status(code: int, message: str, details: Iterable[Detail] = ()) -> bytes:
    """A serialized google.rpc.Status."""
    parts = [b"\x08" + _varint(code)] if code else []
    parts.append(_text(2, message))
    parts += [_field(3, _text(1, detail.type_url) + _bytes(2, detail.value)) for detail in details]
    return b"".join(parts)


def decode_status(data: bytes) -> RichStatus:
    """Reads a google.rpc.Status; fields that it does not have are passed over. Raises `ValueError`."""
    code, message = 0, ""
    details = []
    for number, value in _fields(data):
        if number == 1 and isinstance(value, int):
            code = value
        elif number == 2 and isinstance(value, bytes):
            message = value.decode()
        elif number == 3 and isinstance(value, bytes):
            details.append(_decode_detail(value))
    return RichStatus(code, message, details)


def error_info(reason: str, domain: str, metadata: Mapping[str, str] | None = None) -> Detail:
    entries = [_field(3, _text(1, key) + _text(2, value)) for key, value in (metadata or {}).items()]
    return Detail(_TYPES + "ErrorInfo", _text(1, reason) + _text(2, domain) + b"".join(entries))


def resource_info(resource_type: str, name: str, owner: str = "", description: str = "") -> Detail:
    value = _text(1, resource_type) + _text(2, name) + _text(3, owner) + _text(4, description)
    return Detail(_TYPES + "ResourceInfo", value)


def bad_request(violations: Iterable[tuple[str, str]]) -> Detail:
    """From pairs of field and description."""
    return Detail(_TYPES + "BadRequest", _pairs(violations))


def help_links(links: Iterable[tuple[str, str]]) -> Detail:
    """From pairs of description and URL."""
    return Detail(_TYPES + "Help", _pairs(links))


def read_error_info(data: bytes) -> tuple[str, str, dict[str, str]]:
    """Reason, domain and metadata of an ErrorInfo. Raises `ValueError`."""
    texts, metadata = {1: "", 2: ""}, {}
    for number, value in _fields(data):
        if isinstance(value, bytes):
            if number == 3:
                key, text = _read_pair(value)
                metadata[key] = text
            else:
                texts[number] = value.decode()
    return texts[1], texts[2], metadata


def read_bad_request(data: bytes) -> list[tuple[str, str]]:
    """The fields that a BadRequest names, each with its description. Raises `ValueError`."""
    return [_read_pair(value) for number, value in _fields(data) if number == 1 and isinstance(value, bytes)]


def _read_pair(data: bytes) -> tuple[str, str]:
    texts = {1: "", 2: ""}
    for number, value in _fields(data):
        if isinstance(value, bytes):
            texts[number] = value.decode()
    return texts[1], texts[2]


def _pairs(pairs: Iterable[tuple[str, str]]) -> bytes:
    return b"".join([_field(1, _text(1, first) + _text(2, second)) for first, second in pairs])


# -- protobuf's wire format --


def _varint(value: int) -> bytes:
    value &= 0xFFFF_FFFF_FFFF_FFFF
    packed = bytearray()
    while value >= 0x80:
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    packed.append(value)
    return bytes(packed)


def _field(number: int, value: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + _varint(len(value)) + value


def _bytes(number: int, value: bytes) -> bytes:
    return _field(number, value) if value else b""


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _decode_detail(data: bytes) -> Detail:
    type_url, value = "", b""
    for number, field in _fields(data):
        if number == 1 and isinstance(field, bytes):
            type_url = field.decode()
        elif number == 2 and isinstance(field, bytes):
            value = field
    return Detail(type_url, value)


def _fields(data: bytes) -> Iterable[tuple[int, int | bytes]]:
    """Numbers and values: int for a varint, else the bytes."""
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        kind = tag & 7
        if kind == 0:
            number, position = _read_varint(data, position)
            yield tag >> 3, number - (1 << 64) if number >> 63 else number
            continue
        if kind == 2:
            size, position = _read_varint(data, position)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError("protobuf: unknown wire type")
        value = data[position : position + size]
        if len(value) < size:
            raise ValueError("protobuf: truncated field")
        position += size
        yield tag >> 3, value


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
    raise ValueError("protobuf: invalid varint")
