"""`$VAR` and `${VAR}` in a text, as Go's `os.ExpandEnv` replaces them; `--config` files pass through it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_SPECIAL = "*#$@!?-0123456789"


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`text` with variables replaced; unknown ones by nothing, a lone `$` stays, broken `${` is dropped."""
    pieces = []
    start = 0
    while (dollar := text.find("$", start)) >= 0:
        pieces.append(text[start:dollar])
        name, start = _name(text, dollar + 1)
        pieces.append("$" if name is None else variables.get(name, ""))
    pieces.append(text[start:])
    return "".join(pieces)


def _name(text: str, start: int) -> tuple[str | None, int]:
    """The name behind a dollar and where it ends; None when none follows, empty when it is malformed."""
    first = text[start : start + 1]
    if first == "{":
        end = text.find("}", start)
        return ("", start + 1) if end < 0 else (text[start + 1 : end], end + 1)
    if first and first in _SPECIAL:
        return first, start + 1
    end = start
    while text[end : end + 1].isascii() and (text[end : end + 1].isalnum() or text[end : end + 1] == "_"):
        end += 1
    return (text[start:end], end) if end > start else (None, start)
