"""HPACK (RFC 7541): header blocks of HTTP/2 to tuples of fields and back.

Called by `wire.http2`, with one `Decoder` per connection; whoever sends the same headers again and again
encodes them once with `encode` and keeps the bytes. Most blocks of a busy connection are the same bytes as
one before, so whole blocks are remembered: those that stand for themselves for the whole process, those that
look into the dynamic table until that table changes. A block met again gives the same tuple object again. Calls
that differ in their last fields only, like a trace's, share the beginning of their blocks: that is remembered too.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

from pydapr.wire import huffman
from pydapr.wire.headers import VOLATILE

Header = tuple[bytes, bytes]
Headers = tuple[Header, ...]

DEFAULT_TABLE_SIZE: Final = 4096
"""What both sides assume of the dynamic table before any SETTINGS (RFC 9113 section 6.5.2)."""

FORGET_TABLE: Final = b"\x20"
"""Sets the dynamic table to size 0. Our encoder keeps no table, but has to say so at the start of a block
when the peer allows less than the default (RFC 7541 section 4.2)."""

_OVERHEAD: Final = 32
_STATIC_LENGTH: Final = 61
_LONGEST_STATIC: Final = 59 + _OVERHEAD
_MEMO_BLOCKS: Final = 1024
_MEMO_BLOCK_SIZE: Final = 1024
_MEMO_LIST_SIZE: Final = 8192
_MEMO_BEGINNINGS: Final = 256
_KEY_SIZE: Final = 48
"""Of a beginning: enough to tell one :path from another."""
_MEMO_STRINGS: Final = 4096
_MEMO_STRING_SIZE: Final = 126
"""Also the longest whose length is one byte."""

_STATIC_TEXT = """
:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate
"""


class HpackError(Exception):
    """The block cannot be decoded: the connection is lost, since the tables may differ from here on."""


class HeaderListTooLarge(Exception):
    """The fields are more than we take. The table is in step, so only this one stream has to end."""


def _static_table() -> Headers:
    lines = _STATIC_TEXT.encode().strip().split(b"\n")
    return tuple((name, value) for name, _, value in (line.partition(b" ") for line in lines))


_STATIC: Final = _static_table()
_INDEXED: Final[tuple[Header, ...]] = ((b"", b""), *_STATIC)
"""Fields by their index; index 0 is not used (RFC 7541 section 6.1)."""

_blocks: dict[bytes, Headers] = {}
_strings: dict[bytes, bytes] = {}
_beginnings: dict[bytes, tuple[bytes, Headers]] = {}
"""By their first bytes: what blocks begin with and its fields; no fields while only one block was seen."""


# -- decoding --


def _integer(block: bytes, position: int, prefix: int) -> tuple[int, int]:
    """The integer that begins in the low `prefix` bits at `position`, and where the next thing begins."""
    limit = (1 << prefix) - 1
    value = block[position] & limit
    position += 1
    if value < limit:
        return value, position
    for shift in (0, 7, 14, 21):
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise HpackError("integer too large")


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    """The string literal at `position`, and where the next thing begins."""
    first = block[position]
    if first & 0x7F == 0x7F:
        length, start = _integer(block, position, 7)
    else:
        length, start = first & 0x7F, position + 1
    stop = start + length
    raw = block[start:stop]
    if len(raw) < length:
        raise HpackError("string beyond the end of the block")
    if first >= 0x80:
        raw = _strings.get(raw) or _unpacked(raw)
    return raw, stop


def _unpacked(raw: bytes) -> bytes:
    """A Huffman-coded string that is not among those remembered."""
    try:
        text = huffman.decode(raw)
    except huffman.HuffmanError:
        raise HpackError("invalid Huffman code") from None
    if len(raw) <= _MEMO_STRING_SIZE:
        if len(_strings) >= _MEMO_STRINGS:
            _strings.clear()
        _strings[raw] = text
    return text


def _list_size(headers: Iterable[Header]) -> int:
    """The size of a header list as limits count it (RFC 9113 section 6.5.2)."""
    return sum(len(name) + len(value) + _OVERHEAD for name, value in headers)


def _learn_beginning(block: bytes, headers: Headers, starts: list[int]) -> None:
    """Keeps what `block` has in common with the last one that began alike, or else the block itself."""
    key = block[:_KEY_SIZE]
    last = _beginnings.get(key)
    if len(_beginnings) >= _MEMO_BEGINNINGS:
        _beginnings.clear()
    if last is not None and not last[1]:
        for count in range(len(starts) - 1, 0, -1):
            text = block[: starts[count]]
            if last[0].startswith(text):
                _beginnings[key] = (text, headers[:count])
                return
    _beginnings[key] = (block, ())


class Decoder:
    """One direction of one connection: its dynamic table, and the blocks that it has seen."""

    __slots__ = (
        "_allowed", "_capacity", "_dynamic", "_longest_field", "_max_list", "_pure", "_seen", "_used",
        "remembered",
    )  # fmt: skip

    def __init__(self, max_table_size: int = DEFAULT_TABLE_SIZE, max_header_list: int = 65_536) -> None:
        self._allowed = max_table_size
        self._capacity = min(max_table_size, DEFAULT_TABLE_SIZE)
        self._dynamic: deque[Header] = deque()
        self._used = 0
        self._max_list = max_header_list
        self._longest_field = max(max_table_size, _LONGEST_STATIC)
        # A list in the shared memo is within any limit that is not unusually small.
        self._pure = _blocks if max_header_list >= _MEMO_LIST_SIZE else {}
        self._seen: dict[bytes, Headers] = {}
        # Whether the last tuple will be given again when its block comes again.
        self.remembered = False

    def decode(self, block: bytes) -> Headers:
        """The fields of a whole block. Raises `HpackError`, `HeaderListTooLarge`."""
        headers = self._pure.get(block)
        if headers is None:
            headers = self._seen.get(block)
            if headers is None:
                return self._decode_unknown(block)
        self.remembered = True
        return headers

    def _decode_unknown(self, block: bytes) -> Headers:
        fields: list[Header] = []
        starts: list[int] | None = None
        text, known = _beginnings.get(block[:_KEY_SIZE], (b"", ()))
        if known and block.startswith(text):
            fields += known
        else:
            text, starts = b"", []
        try:
            looked, changed = self._read_fields(block, len(text), fields, starts)
        except IndexError:
            raise HpackError("truncated block or unknown index") from None
        # No string is longer than 8/5 of its code, so few lists need an exact count.
        if len(fields) * self._longest_field + 2 * len(block) > self._max_list:
            if _list_size(fields) > self._max_list:
                self._seen.clear()
                raise HeaderListTooLarge
        headers = tuple(fields)
        self.remembered = False
        if changed:
            if self._seen:
                self._seen.clear()
        elif len(block) <= _MEMO_BLOCK_SIZE:
            self._remember(block, headers, looked)
            if starts and not looked:
                _learn_beginning(block, headers, starts)
        return headers

    def _remember(self, block: bytes, headers: Headers, looked: bool) -> None:
        # What comes from the dynamic table is shared with it; the rest is no longer than this.
        if not looked and len(headers) * _LONGEST_STATIC + 2 * len(block) > _MEMO_LIST_SIZE:
            return
        self.remembered = True
        memo = self._seen if looked else self._pure
        if len(memo) >= _MEMO_BLOCKS:
            memo.clear()
        memo[block] = headers

    def _read_fields(
        self, block: bytes, position: int, fields: list[Header], starts: list[int] | None
    ) -> tuple[bool, bool]:
        """Adds the fields from `position` on, and where each starts if that is asked for.

        Answers whether the dynamic table was looked into, and whether it was changed. Short plain strings are
        read in place: a call for each would double the time of a literal.
        """
        looked = changed = False
        end = len(block)
        while position < end:
            if starts is not None:
                starts.append(position)
            byte = block[position]
            if byte >= 0x80:
                index = byte & 0x7F
                if index == 0x7F:
                    index, position = _integer(block, position, 7)
                else:
                    position += 1
                if index > _STATIC_LENGTH:
                    looked = True
                    fields.append(self._dynamic[index - _STATIC_LENGTH - 1])
                else:
                    if not index:
                        raise HpackError("index 0")
                    fields.append(_INDEXED[index])
            elif byte & 0x60 == 0x20:
                if fields:
                    raise HpackError("table size update after a field")
                position = self._resize(block, position)
                changed = True
            else:
                prefix = 6 if byte >= 0x40 else 4
                limit = 0x3F if byte >= 0x40 else 0x0F
                index = byte & limit
                if index == limit:
                    index, position = _integer(block, position, prefix)
                else:
                    position += 1
                if not index:
                    length = block[position]
                    if length < 0x7F:
                        start = position + 1
                        position = start + length
                        name = block[start:position]
                    else:
                        name, position = _string(block, position)
                elif index > _STATIC_LENGTH:
                    looked = True
                    name = self._dynamic[index - _STATIC_LENGTH - 1][0]
                else:
                    name = _INDEXED[index][0]
                length = block[position]
                if length < 0x7F:
                    start = position + 1
                    position = start + length
                    value = block[start:position]
                else:
                    value, position = _string(block, position)
                field = (name, value)
                if prefix == 6:
                    self._insert(field)
                    changed = True
                fields.append(field)
        if position > end:
            raise HpackError("string beyond the end of the block")
        return looked, changed

    def _resize(self, block: bytes, position: int) -> int:
        self._capacity, position = _integer(block, position, 5)
        if self._capacity > self._allowed:
            raise HpackError("table size beyond what we allow")
        self._evict()
        return position

    def _insert(self, field: Header) -> None:
        """Puts `field` first. One that is larger than the table empties it (RFC 7541 section 4.4)."""
        self._used += len(field[0]) + len(field[1]) + _OVERHEAD
        self._dynamic.appendleft(field)
        if self._used > self._capacity:
            self._evict()

    def _evict(self) -> None:
        dynamic = self._dynamic
        while self._used > self._capacity:
            name, value = dynamic.pop()
            self._used -= len(name) + len(value) + _OVERHEAD


# -- encoding --

_NEVER_INDEXED: Final = frozenset({b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"})
_NAME_INDEX: Final = {name: index for index, (name, _) in reversed(list(enumerate(_STATIC, 1)))}

_ONE_BYTE: Final = {field: bytes((0x80 | index,)) for index, field in enumerate(_STATIC, 1)}

_SECRET: Final = 0x10
"""In the first byte of a literal: never to be indexed."""

_names: dict[bytes, bytes] = {}
_encoded: dict[Header, bytes] = dict(_ONE_BYTE)


def _packed_integer(value: int, prefix: int, flags: int) -> bytes:
    limit = (1 << prefix) - 1
    if value < limit:
        return bytes((flags | value,))
    packed = bytearray((flags | limit,))
    value -= limit
    while value >= 0x80:
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    packed.append(value)
    return bytes(packed)


def _packed_string(text: bytes) -> bytes:
    return _packed_integer(len(text), 7, 0) + text


def _encode_name(name: bytes) -> bytes:
    """The beginning of a literal. No one on the way may put a secret into a table (RFC 7541 section 7.1.3)."""
    secret = name in _NEVER_INDEXED or name.endswith(b"token")
    flags = _SECRET if secret else 0
    index = _NAME_INDEX.get(name)
    if index is None:
        coded = bytes((flags,)) + _packed_string(name)
    else:
        coded = _packed_integer(index, 4, flags)
    if len(name) <= _MEMO_STRING_SIZE:
        if len(_names) >= _MEMO_STRINGS:
            _names.clear()
        _names[name] = coded
    return coded


def _encode_field(field: Header) -> bytes:
    """A field that is not among those remembered. What is secret or long stays so."""
    name, value = field
    head = _names.get(name) or _encode_name(name)
    size = len(value)
    if size > _MEMO_STRING_SIZE or len(head) > _MEMO_STRING_SIZE or head[0] & _SECRET or name in VOLATILE:
        return head + _packed_string(value)
    if len(_encoded) >= _MEMO_STRINGS:
        _encoded.clear()
        _encoded.update(_ONE_BYTE)
    coded = _encoded[field] = b"%b%c%b" % (head, size, value)
    return coded


def encode(headers: Iterable[Header]) -> bytes:
    """A block that needs no table: the same bytes for the same headers, on every connection."""
    get = _encoded.get
    return b"".join([get(field) or _encode_field(field) for field in headers])


class Encoder:
    """`encode` in the shape that code written for other HPACK libraries expects; it has no state."""

    __slots__ = ()

    def encode(self, headers: Iterable[Header]) -> bytes:
        return encode(headers)
