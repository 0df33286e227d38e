"""The file of `dapr scheduler export`: two maps from keys to values, as Go's encoding/gob writes them.

Pure. Reads files of the original's command line, and writes files that it reads: a structure with the fields `Jobs` and
`Counters`, both of the type map[string][]byte. The form is described at https://pkg.go.dev/encoding/gob.
"""

from collections.abc import Iterator

Maps = dict[str, dict[str, bytes]]
"""The fields of the structure."""

_INT, _BYTES, _STRING = 2, 5, 6
_STRUCTURE, _MAP = 64, 65
"""Numbers of our own two types; those below are taken."""

_WIRE_STRUCT, _WIRE_MAP = 3, 4


class Malformed(ValueError):
    """The bytes are no such file."""


def write(maps: Maps) -> bytes:
    fields = b"".join(b"\x01" + _text(name) + b"\x01" + _integer(_MAP) + b"\0" for name in maps)
    common = b"\x01" + _text("ExportFile") + b"\x01" + _integer(_STRUCTURE) + b"\0"
    structure = b"\x01" + common + b"\x01" + _natural(len(maps)) + fields + b"\0"
    common = b"\x01" + _text("map[string][]uint8") + b"\x01" + _integer(_MAP) + b"\0"
    mapping = b"\x01" + common + b"\x01" + _integer(_STRING) + b"\x01" + _integer(_BYTES) + b"\0"
    content = [_integer(_STRUCTURE)]
    for entries in maps.values():
        content += (b"\x01", _natural(len(entries)))
        for key, value in entries.items():
            content += (_text(key), _natural(len(value)), value)
    return b"".join(
        _natural(len(message)) + message
        for message in (
            _integer(-_STRUCTURE) + _natural(_WIRE_STRUCT) + structure + b"\0",
            _integer(-_MAP) + _natural(_WIRE_MAP) + mapping + b"\0",
            b"".join(content) + b"\0",
        )
    )


def read(data: bytes) -> Maps:
    """The maps by the names of their fields. Raises `Malformed`."""
    try:
        return _read(_Reader(data))
    except (IndexError, UnicodeDecodeError) as error:
        raise Malformed(f"it ends too early or is no file of an export: {error}") from None


def _natural(number: int) -> bytes:
    if number < 128:
        return bytes((number,))
    digits = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return bytes((256 - len(digits),)) + digits


def _integer(number: int) -> bytes:
    return _natural(~number << 1 | 1 if number < 0 else number << 1)


def _text(text: str) -> bytes:
    data = text.encode()
    return _natural(len(data)) + data


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def is_at_end(self) -> bool:
        return self._at >= len(self._data)

    def take(self, length: int) -> bytes:
        self._at += length
        if self._at > len(self._data):
            raise IndexError(f"{self._at - len(self._data)} bytes are missing")
        return self._data[self._at - length : self._at]

    def natural(self) -> int:
        first = self.take(1)[0]
        if first < 128:
            return first
        if first < 248:
            raise Malformed(f"a number of {256 - first} bytes")
        return int.from_bytes(self.take(256 - first), "big")

    def integer(self) -> int:
        number = self.natural()
        return ~(number >> 1) if number & 1 else number >> 1

    def data(self) -> bytes:
        return self.take(self.natural())

    def fields(self) -> Iterator[int]:
        """The numbers of the fields of a structure, from 1; whoever asks reads each before the next."""
        number = 0
        while step := self.natural():
            number += step
            yield number


def _read(reader: _Reader) -> Maps:
    structures: dict[int, list[str]] = {}
    mappings: set[int] = set()
    while not reader.is_at_end():
        reader.natural()  # the length of the message
        number = reader.integer()
        if number >= 0:
            return _read_maps(reader, structures.get(number), mappings)
        for kind in reader.fields():
            if kind == _WIRE_STRUCT:
                structures[-number] = _read_structure(reader)
            elif kind == _WIRE_MAP:
                _read_mapping(reader)
                mappings.add(-number)
            else:
                raise Malformed("it has more than maps in it")
    raise Malformed("it is empty")


def _read_common(reader: _Reader) -> str:
    """The name of a type, and its number."""
    name = ""
    for field in reader.fields():
        if field == 1:
            name = reader.data().decode()
        else:
            reader.integer()
    return name


def _read_structure(reader: _Reader) -> list[str]:
    """The names of the fields of a type."""
    names: list[str] = []
    for field in reader.fields():
        if field == 1:
            _read_common(reader)
        else:
            names = [_read_common(reader) for _ in range(reader.natural())]
    return names


def _read_mapping(reader: _Reader) -> None:
    kinds = {2: _STRING, 3: _BYTES}
    for field in reader.fields():
        if field == 1:
            _read_common(reader)
        elif reader.integer() != kinds.get(field):
            raise Malformed("its maps have other keys or values")


def _read_maps(reader: _Reader, names: list[str] | None, mappings: set[int]) -> Maps:
    if names is None or not mappings:
        raise Malformed("it is no structure of maps")
    maps: Maps = {}
    for field in reader.fields():
        entries = maps.setdefault(names[field - 1], {})
        for _ in range(reader.natural()):
            key = reader.data().decode()
            entries[key] = reader.data()
    return maps
