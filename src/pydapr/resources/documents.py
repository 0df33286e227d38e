"""YAML and JSON text to plain Python values, read as the original reads it.

Called by `folder` and `configuration` when there is a file, and only then imported: PyYAML costs 10 ms at start.
Resources follow YAML 1.1 as `sigs.k8s.io/yaml` does (`on` is true, `010` is 8, `1:30` and dates are text),
configuration files follow `gopkg.in/yaml.v3` (only `true` and `false` are booleans) and keep the written form of
scalars as `Plain`, because there a text field takes `1.10` as it stands. JSON is YAML to both.

We take libyaml's events and decide about scalars ourselves; PyYAML's own rules differ from Go's in many places.
"""

from __future__ import annotations

import yaml

from pydapr.lib.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Scalar = str | int | float | bool | None

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SEPARATOR = b"\n---"
_NULLS = {"", "~", "null", "Null", "NULL"}
_TRUE, _FALSE = {"true", "True", "TRUE"}, {"false", "False", "FALSE"}
_TRUE_11 = _TRUE | {"y", "Y", "yes", "Yes", "YES", "on", "On", "ON"}
_FALSE_11 = _FALSE | {"n", "N", "no", "No", "NO", "off", "Off", "OFF"}
_SPECIAL_FLOATS = {"nan": float("nan"), "inf": float("inf")}
_BASES = {"0x": 16, "0X": 16, "0o": 8, "0O": 8, "0b": 2, "0B": 2}
_TEXT_EXPONENTS, _JSON_EXPONENTS = (6, -4), (21, -6)
_TAG = "tag:yaml.org,2002:"

MOST_REPEATED = 400_000
"""Values that aliases may bring into a document again: up to so many the original takes nearly any."""

MOST_DEPTH = 200
"""Levels of a document. The original takes 10,000, which nobody writes."""


class DocumentError(ValueError):
    """A document is no YAML; the message is worded as the original's library words it."""


class Plain(Record):
    """An unquoted scalar of a configuration file: as written, and what it means."""

    written: str
    value: int | float | bool


def split(content: bytes) -> list[bytes]:
    """The documents of a resource file: cut at each line that begins with `---`, wherever it stands."""
    documents = []
    start = 0
    while (end := content.find(_SEPARATOR, start)) >= 0:
        documents.append(content[start:end])
        line_end = content.find(b"\n", end + len(_SEPARATOR))
        if line_end < 0:
            return documents
        start = line_end + 1
    if start < len(content):
        documents.append(content[start:])
    return documents


def decode(content: bytes) -> object:
    """The first document in `content`, by the rules for resources; raises DocumentError."""
    return _Composer(content, _resource_scalar).document()


def decode_configuration(content: bytes) -> object:
    """The first document in `content`, by the rules for configuration files; raises DocumentError."""
    return _Composer(content, _configuration_scalar).document()


class _Composer:
    """Turns the events of one document into values."""

    def __init__(self, content: bytes, scalar: Callable[[str], object]) -> None:
        self._content, self._scalar = content, scalar
        self._anchors: dict[str, tuple[object, int]] = {}
        """What each stands for, and of how many values it is made."""
        self._count = self._repeated = self._depth = 0
        self._explicit_wins = scalar is _configuration_scalar
        self._events: Iterator[yaml.Event] = iter(())

    def document(self) -> object:
        try:
            self._events = yaml.parse(self._content, Loader=_LOADER)
            for event in self._events:
                if isinstance(event, yaml.DocumentStartEvent):
                    return self._node(next(self._events))
        except yaml.YAMLError as error:
            raise DocumentError(_worded(error)) from error
        return None

    def _node(self, event: yaml.Event) -> object:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise DocumentError(f"yaml: unknown anchor '{event.anchor}' referenced")
            value, size = self._anchors[event.anchor]
            self._count += size
            self._repeated += size
            if self._repeated > MOST_REPEATED:
                raise DocumentError("yaml: document contains excessive aliasing")
            return value
        before = self._count
        self._count += 1
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise DocumentError(f"yaml: exceeded max depth of {MOST_DEPTH}")
        if isinstance(event, yaml.ScalarEvent):
            value = self._tagged(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence()
        else:
            value = self._mapping()
        self._depth -= 1
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            self._anchors[event.anchor] = value, self._count - before
        return value

    def _tagged(self, event: yaml.ScalarEvent) -> object:
        if event.tag is None or event.tag == "!":
            return self._scalar(event.value) if event.implicit[0] else event.value
        if event.tag in (_TAG + "int", _TAG + "float", _TAG + "bool", _TAG + "null"):
            return self._scalar(event.value)
        return event.value

    def _sequence(self) -> list[object]:
        items: list[object] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event))
        return items

    def _mapping(self) -> dict[str, object]:
        values: dict[str, object] = {}
        merged: dict[str, object] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            is_merge = isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]
            key = self._node(event)
            value = self._node(next(self._events))
            if not is_merge:
                name = _key(key)
                line = event.start_mark.line + 1 if event.start_mark else 0
                if self._explicit_wins and name in lines:
                    raise DocumentError(_twice(name, line, lines[name]))
                lines[name] = line
                values[name] = value
            elif self._explicit_wins:
                merged.update(_merged(value))
            else:
                values.update(_merged(value))
        return merged | values


def _twice(name: str, line: int, before: int) -> str:
    return f'yaml: unmarshal errors:\n  line {line}: mapping key "{name}" already defined at line {before}'


def _worded(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        line = 0
        if error.problem_mark is not None and error.problem_mark.line:
            line = error.problem_mark.line + isinstance(error, yaml.scanner.ScannerError)
        elif error.context_mark is not None:
            line = error.context_mark.line
        where = f"line {line}: " if line else ""
        return f"yaml: {where}{error.problem}"
    return f"yaml: {getattr(error, 'reason', error)}"


def _key(key: object) -> str:
    if isinstance(key, Plain):
        return key.written
    if key is None:
        return "null"
    if isinstance(key, list | dict):
        raise DocumentError("yaml: invalid map key")
    return key if isinstance(key, str) else scalar_text(key)


def _merged(value: object) -> dict[str, object]:
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        together: dict[str, object] = {}
        for item in reversed(value):
            together.update(item)
        return together
    raise DocumentError("yaml: map merge requires map or sequence of maps as the value")


def _resource_scalar(text: str) -> Scalar:
    if text in _NULLS:
        return None
    if text in _TRUE_11 or text in _FALSE_11:
        return text in _TRUE_11
    return _number(text)


def _configuration_scalar(text: str) -> object:
    if text in _NULLS:
        return None
    if text in _TRUE or text in _FALSE:
        return Plain(text, text in _TRUE)
    value = _number(text)
    return text if isinstance(value, str) else Plain(text, value)


def _number(text: str) -> str | int | float:
    if text[0] not in "+-.0123456789":
        return text
    if text.lstrip("+-")[:1] == "." and text.lstrip("+-.").lower() in _SPECIAL_FLOATS:
        value = _SPECIAL_FLOATS[text.lstrip("+-.").lower()]
        return -value if text[0] == "-" else value
    digits = text.replace("_", "")
    integer = _integer(digits)
    if integer is not None:
        return integer
    return _float(digits, text)


def _integer(digits: str) -> int | None:
    sign = -1 if digits[0] == "-" else 1
    body = digits[1:] if digits[0] in "+-" else digits
    base = _BASES.get(body[:2], 0)
    body = body[2:] if base else body
    if not base:
        base = 8 if len(body) > 1 and body[0] == "0" else 10
    if not body.isalnum() or not body.isascii():
        return None
    try:
        value = sign * int(body, base)
    except ValueError:
        return None
    return value if -(1 << 63) <= value < 1 << 64 else None


def _float(digits: str, text: str) -> str | float:
    mantissa = digits.lower().partition("e")[0]
    if not any(letter.isdecimal() for letter in mantissa) or not set(digits) <= set("+-.0123456789eE"):
        return text
    try:
        value = float(digits)
    except ValueError:
        return text
    return text if value in _SPECIAL_FLOATS.values() or value == float("-inf") else value


def scalar_text(value: object) -> str:
    """A scalar where the original expects text: numbers and booleans are printed as Go prints them."""
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, float):
        return _float_text(_single(value), *_TEXT_EXPONENTS)
    return str(value)


def json_text(value: object) -> str:
    """`value` as Go's `encoding/json` prints it: compact, keys sorted, `<>&` escaped."""
    if value is None:
        return "null"
    if isinstance(value, Plain):
        return json_text(value.value)
    if isinstance(value, bool | int):
        return scalar_text(value)
    if isinstance(value, float):
        return _float_text(value, *_JSON_EXPONENTS)
    if isinstance(value, list):
        return f"[{','.join(map(json_text, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_json_string(key)}:{json_text(value[key])}" for key in sorted(value)) + "}"
    return _json_string(str(value))


_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in (*range(0x20), *map(ord, "<>&"), 0x2028, 0x2029)}
_JSON_ESCAPES |= {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def _json_string(text: str) -> str:
    return f'"{text.translate(_JSON_ESCAPES)}"'


def _float_text(value: float, most: int, least: int) -> str:
    """The shortest digits; with an exponent from 10**most on and below 10**least, as Go's strconv does."""
    shown = f"{value!r}".lstrip("-")
    sign = "-" if f"{value!r}"[0] == "-" else ""
    if not shown[0].isdecimal():
        return "NaN" if value != value else f"{sign or '+'}Inf"
    mantissa, _, power = shown.partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = int(power or "0") + len(whole) - 1 - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if not digits:
        return f"{sign}0"
    if least <= exponent < most:
        return sign + _positional(digits, exponent)
    point = f".{digits[1:]}" if len(digits) > 1 else ""
    padded = f"{abs(exponent):02d}" if least == _TEXT_EXPONENTS[1] or exponent > 0 else str(abs(exponent))
    return f"{sign}{digits[0]}{point}e{'-' if exponent < 0 else '+'}{padded}"


def _single(value: float) -> float:
    """`value` with the digits that single precision has: sigs.k8s.io/yaml prints numbers as text that way."""
    import struct

    try:
        wanted = struct.pack("f", value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    candidates = (float(f"{value:.{digits}e}") for digits in range(9))
    return next((near for near in candidates if struct.pack("f", near) == wanted), value)


def _positional(digits: str, exponent: int) -> str:
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + digits
    if len(digits) <= exponent + 1:
        return digits + "0" * (exponent + 1 - len(digits))
    return f"{digits[: exponent + 1]}.{digits[exponent + 1 :]}"
