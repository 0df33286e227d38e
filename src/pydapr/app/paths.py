"""Method names and the paths they are in the URL of an app: cleaning, refusing, escaping.

Pure. Called by the invocation block (on both sides of a call) and by `app.http`. The rules are those of the
original, which are Go's (`path.Clean`, `net/url`).
"""

import posixpath
import re
from urllib.parse import quote, unquote, unquote_to_bytes

from pydapr.lib import memo

_PLAIN = re.compile(r"[A-Za-z0-9\-_.~!$&'()*+,;=:@/\[\]]*\Z")
_ENCODED = re.compile(r"(?:[A-Za-z0-9\-_.~!$&'()*+,;=:@/\[\]]|%[0-9A-Fa-f]{2})*\Z")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)
_DIRTY = re.compile(r"//|/\.|\A\.|/\Z")

_GO_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


class Invalid(ValueError):
    """The method name cannot be sent to an app."""


def _go_quoted(text: str) -> str:
    """`text` as Go's %q prints it."""
    out = []
    for char in text:
        if char in ('"', "\\"):
            out.append("\\" + char)
        elif char in _GO_ESCAPES:
            out.append(_GO_ESCAPES[char])
        elif ord(char) < 0x20 or ord(char) == 0x7F:
            out.append(f"\\x{ord(char):02x}")
        else:
            out.append(char)
    return '"' + "".join(out) + '"'


def clean(path: str) -> str:
    """`path` without `.`, `..`, doubled and trailing slashes; "" stays empty (Go's path.Clean)."""
    if not _DIRTY.search(path):
        return path
    cleaned = posixpath.normpath(path)
    if cleaned.startswith("//"):
        cleaned = cleaned[1:]  # POSIX keeps two leading slashes, Go does not
    return "" if cleaned == "." else cleaned


@memo.of_short(2048)
def normalize(method: str) -> str:
    """The canonical form of a method name, on which access rules are decided. Raises `Invalid`."""
    if "#" in method or "?" in method or "\0" in method:
        raise Invalid(f"method contains forbidden character: {_go_quoted(method)}")
    if not method.isprintable():
        for position, char in enumerate(method):
            if char < " " or char == "\x7f":
                offset = len(method[:position].encode("utf-8", "surrogateescape"))
                raise Invalid(f"method contains control character at position {offset}: {_go_quoted(method)}")
    cleaned = clean(method)
    while cleaned.startswith("../"):
        cleaned = cleaned[3:]
    return "" if cleaned == ".." else cleaned


@memo.of_short(2048)
def wrong_name(name: str) -> str:
    """Why the name of an actor, reminder or timer cannot be a segment of a path, "" when it can."""
    if any(char in name for char in "#?\0/\\"):
        return f"name contains forbidden character: {_go_quoted(name)}"
    if not name.isprintable():
        for position, char in enumerate(name):
            if char < " " or char == "\x7f":
                offset = len(name[:position].encode("utf-8", "surrogateescape"))
                return f"name contains control character at position {offset}: {_go_quoted(name)}"
    return f"name is a path traversal sequence: {_go_quoted(name)}" if name in (".", "..") else ""


@memo.of_short(2048)
def leads_away(name: str) -> bool:
    """Whether the path of an app in which the id of an actor is a segment, or several, would be another one than it
    looks: to who reads `.` and `..`, and maybe `%2e` and `\\`."""
    text = unquote(name) if "%" in name else name
    return not {".", ".."}.isdisjoint(text.replace("\\", "/").split("/"))


def escape(method: str) -> bytes:
    """`method` as the path of a URL, with a leading slash. Raises `Invalid` for an escape that is none.

    A name that still holds valid escapes keeps them, as in the original.
    """
    path = method if method.startswith("/") else "/" + method
    if _PLAIN.match(path):
        return path.encode()
    bad = _BAD_ESCAPE.search(path)
    if bad:
        raise Invalid(f"invalid URL escape {_go_quoted(bad[0])}")
    if _ENCODED.match(path):
        return path.encode()
    return quote(unquote_to_bytes(path.encode("utf-8", "surrogateescape")), safe="$&+,/:;=@").encode()
