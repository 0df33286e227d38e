"""PEM texts (RFC 7468) as Go reads them: blocks between other text, which counts as comment. Pure.

Used by `certificates` and by sentry, which takes signing requests under more than one label.
"""

import base64
import binascii
import re

_BEGIN, _END, _DASHES = b"-----BEGIN ", b"-----END ", b"-----"
_HEADER = re.compile(rb"\A(?:[^\r\n:]+:[^\r\n]*\r?\n)+\r?\n?")
_LINE = 64
_LONGEST_LABEL = 128

Block = tuple[str, bytes]
"""Label and content."""


def blocks(data: bytes) -> list[Block]:
    """All blocks in `data`; what is not well-formed is passed over."""
    found = []
    position = 0
    while (end := data.find(_END, position)) >= 0:
        # Of several beginnings only the last one before an end can be its own.
        begin = data.rfind(_BEGIN, position, end)
        after = end + len(_END)
        if begin >= 0 and (begin == 0 or data[begin - 1 : begin] == b"\n"):
            block = _block(data[begin + len(_BEGIN) : end], data[after : after + _LONGEST_LABEL])
            if block is not None:
                found.append(block)
        position = after
    return found


def _block(text: bytes, end: bytes) -> Block | None:
    """A block by what stands between its marks, and by what follows the second one."""
    head, _, body = text.partition(b"\n")
    label, dashes, rest = head.partition(_DASHES)
    if not dashes or rest.strip() or not end.startswith(label + _DASHES):
        return None
    try:
        content = b"".join(_HEADER.sub(b"", body).split())
        return label.decode("ascii"), base64.b64decode(content, validate=True)
    except (binascii.Error, UnicodeDecodeError):
        return None


def encode(label: str, content: bytes) -> bytes:
    """One block."""
    text = base64.b64encode(content)
    lines = b"".join(text[at : at + _LINE] + b"\n" for at in range(0, len(text), _LINE))
    name = label.encode()
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (name, lines, name)
