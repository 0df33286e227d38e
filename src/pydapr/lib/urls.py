"""Decoding of URL paths and queries. Pure; called by the faces."""

from urllib.parse import unquote_to_bytes


def decode(path: bytes) -> str:
    """`path` with its escapes resolved once; bytes that are no UTF-8 survive as surrogates.

    Raises `ValueError` for a percent sign that begins no escape.
    """
    if b"%" not in path:
        return path.decode("utf-8", "surrogateescape")
    parts = path.split(b"%")
    for part in parts[1:]:
        if len(part) < 2 or not _is_hex(part[:2]):
            raise ValueError(f'invalid URL escape "%{part[:2].decode("latin-1")}"')
    return unquote_to_bytes(path).decode("utf-8", "surrogateescape")


def _is_hex(pair: bytes) -> bool:
    return all(byte in b"0123456789abcdefABCDEF" for byte in pair)
