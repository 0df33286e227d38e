"""Regular expressions as Go reads them (RE2 syntax), compiled for Python's engine. Pure.

Used wherever a resource holds an expression that decides over requests: the same text must not mean another thing
here. What Python would read differently is rewritten, and what has no counterpart is refused.
"""

import re

_CLASSES = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7f", "blank": r"\t ", "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ", "upper": "A-Z", "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_TOKEN = re.compile(
    r"""
    (?P<quoted>\\Q.*?(?:\\E|\Z))
    | (?P<end>\\z)
    | (?P<refused>\\[1-9pPCZGKRX]|\(\?(?:=|!|<=|<!|\#|>|P=|P>|\()|[*+?}]\+)
    | (?P<hex>\\x\{[0-9A-Fa-f]+\})
    | (?P<escape>\\.)
    | (?P<named>\(\?<)
    | (?P<flags>\(\?[A-Za-z]*-?[A-Za-z]*(?::|\)))
    | (?P<set>\[\^?\]?)
    | (?P<dollar>\$)
    """,
    re.VERBOSE | re.DOTALL,
)
_IN_SET = re.compile(r"\[:(?P<not>\^?)(?P<name>[a-z]+):\]|\\x\{[0-9A-Fa-f]+\}|\\.|[\]\[&~|-]", re.DOTALL)


class Unusable(ValueError):
    """The expression is none, or means something that Python's engine cannot do."""


def compile(expression: str) -> re.Pattern[str]:
    """`expression`, to be used with `search` and `match`. Raises `Unusable`."""
    try:
        return re.compile(_translate(expression), re.ASCII)
    except (re.error, OverflowError) as error:
        raise Unusable(f"error parsing regexp: {error}: `{expression}`") from None


def _translate(expression: str) -> str:
    out: list[str] = []
    position, is_multiline = 0, False
    while position < len(expression):
        token = _TOKEN.match(expression, position)
        if token is None:
            out.append(expression[position])
            position += 1
            continue
        position = token.end()
        kind, text = token.lastgroup, token[0]
        if kind == "refused":
            raise Unusable(f"error parsing regexp: {text} is not supported: `{expression}`")
        if kind == "set":
            inside, position = _set(expression, position)
            out.append(text.replace("]", r"\]") + inside)
        elif kind == "flags":
            letters = text[2:-1]
            if set(letters) - set("ims-") or (text.endswith(")") and "-" in letters):
                raise Unusable(f"error parsing regexp: {text} is not supported: `{expression}`")
            is_multiline |= "m" in letters.partition("-")[0]
            out.append(_flags(text, out, expression))
        elif kind == "dollar":
            out.append("$" if is_multiline else r"\Z")
        elif kind == "quoted":
            out.append(re.escape(text[2:].removesuffix(r"\E")))
        else:
            out.append({"end": r"\Z", "named": "(?P<", "hex": _letter(text)}.get(kind or "", text))
    return "".join(out)


def _flags(text: str, before: list[str], expression: str) -> str:
    """Flags for all that follows are allowed by Python at the very beginning only."""
    if text.endswith(")") and before:
        raise Unusable(f"error parsing regexp: {text} must stand at the beginning: `{expression}`")
    return text


def _letter(text: str) -> str:
    return re.escape(chr(int(text[3:-1], 16))) if text.startswith(r"\x{") else text


def _set(expression: str, position: int) -> tuple[str, int]:
    """The rest of a set of letters from `position`, with its closing bracket, and where it ends."""
    out: list[str] = []
    while position < len(expression):
        token = _IN_SET.match(expression, position)
        text = token[0] if token else expression[position]
        position += len(text)
        if text == "]":
            return "".join(out) + "]", position
        if token and token["name"]:
            if token["not"] or token["name"] not in _CLASSES:
                raise Unusable(f"error parsing regexp: {text} is not supported: `{expression}`")
            text = _CLASSES[token["name"]]
        elif text in ("[", "&", "~", "|"):
            text = "\\" + text
        elif text[0] == "\\" and text[1] in "pPQEz":
            raise Unusable(f"error parsing regexp: {text} is not supported: `{expression}`")
        out.append(_letter(text))
    raise Unusable(f"error parsing regexp: missing closing ]: `{expression}`")
