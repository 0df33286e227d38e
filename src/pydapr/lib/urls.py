"""Decoding of URL paths and queries. Pure; called by the faces."""

from urllib.parse import parse_qsl, unquote_to_bytes


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


def segments(target: bytes, prefix: bytes) -> list[str]:
    """What stands between the slashes of a path behind `prefix`, each decoded; a plus sign stands for a blank.

    Raises `ValueError`.
    """
    path = target.partition(b"?")[0].rstrip(b"/")[len(prefix) :]
    if b"%" not in path and b"+" not in path:
        return path.decode("utf-8", "surrogateescape").split("/")
    return [decode(segment) for segment in path.replace(b"+", b" ").split(b"/")]


def whole(texts: list[str]) -> list[str]:
    """`texts` without bytes that are no UTF-8, which are replaced as they would be in JSON."""
    return [
        text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for text in texts
    ]


def metadata(target: bytes) -> dict[str, str]:
    """The parameters `metadata.<name>` of the query, by name; of several the first counts."""
    query = target.partition(b"?")[2]
    if b"metadata." not in query:
        return {}
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="replace")
    return {name[9:]: value for name, value in reversed(pairs) if name.startswith("metadata.")}


def _is_hex(pair: bytes) -> bool:
    return all(byte in b"0123456789abcdefABCDEF" for byte in pair)


def authorization(user: str) -> str:
    """What `Authorization` says in place of the `name:password` before the host of a URL (RFC 7617)."""
    from base64 import b64encode
    from urllib.parse import unquote

    return f"Basic {b64encode(unquote(user).encode()).decode()}"
