"""Operators, functions and methods of the Common Expression Language, on plain values. Pure. Used by `lib.cel`."""

from __future__ import annotations

import functools
import math
import operator
import re
from datetime import UTC, datetime, timedelta

from pydapr.lib import re2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pydapr.lib.re2_linear import Linear


class Failed(Exception):
    """The expression has no value. The message is the reason, in the words of the original's library."""


class Missing(Failed):
    """It speaks of something that is not there."""


def no_overload() -> Failed:
    """An operator or a function that is not for values of these types."""
    return Failed("no such overload")


MOST_STEPS = 1_000_000
"""What one evaluation may cost, about a tenth of a second: events come from anybody, and all else waits meanwhile."""


class Effort:
    """What is left for the evaluation under way; there is one at a time, since none waits for anything."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MOST_STEPS


effort = Effort()


def spend(steps: int) -> None:
    """Raises `Failed` when the evaluation has become too costly."""
    effort.left -= steps
    if effort.left < 0:
        raise Failed("operation cancelled: actual cost limit exceeded")


def _copy(size: int) -> None:
    """Spends what it costs to make something of so many letters or elements."""
    spend(size >> 6)


_LEAST, _MOST = -(1 << 63), (1 << 64) - 1


_MOST_DIGITS = 100
"""Of numbers in text, leading zeros included."""


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def _is_whole(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())


# -- relations --


def equal(left: Any, right: Any) -> bool:
    """Values of different types are not equal, but numbers are when they are the same number."""
    if type(left) is type(right):
        if isinstance(left, list):
            spend(min(len(left), len(right)))
            return len(left) == len(right) and all(map(equal, left, right))
        if isinstance(left, dict):
            spend(min(len(left), len(right)))
            return left.keys() == right.keys() and all(equal(value, right[key]) for key, value in left.items())
        return bool(left == right)
    return _is_number(left) and _is_number(right) and left == right


def _unequal(left: Any, right: Any) -> bool:
    return not equal(left, right)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def relation(left: Any, right: Any) -> bool:
        if _is_number(left) and _is_number(right):
            return compare(left, right)
        if type(left) is type(right) and isinstance(left, (str, bytes, bool, datetime, timedelta)):
            return compare(left, right)
        raise no_overload()

    return relation


def _contained(value: Any, values: Any) -> bool:
    if isinstance(values, dict):
        if isinstance(value, str):
            return value in values
        spend(len(values))
        return any(equal(value, key) for key in values)
    if isinstance(values, list):
        spend(len(values))
        return any(equal(value, one) for one in values)
    raise no_overload()


RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": equal,
    "!=": _unequal,
    "<": _ordered(operator.lt),
    "<=": _ordered(operator.le),
    ">": _ordered(operator.gt),
    ">=": _ordered(operator.ge),
    "in": _contained,
}


# -- arithmetic --


def _bounded(value: Any) -> Any:
    if type(value) is int and not _LEAST <= value <= _MOST:
        raise Failed("integer overflow")
    return value


def _add(left: Any, right: Any) -> Any:
    if _is_number(left) and _is_number(right):
        return _bounded(left + right)
    if type(left) is type(right) and isinstance(left, (str, bytes, list)):
        _copy(len(left) + len(right))
        return left + right
    if isinstance(left, timedelta) and isinstance(right, timedelta):
        return _span(left, right)
    if isinstance(left, datetime) and isinstance(right, timedelta):
        return _in_time(left, right)
    if isinstance(left, timedelta) and isinstance(right, datetime):
        return _in_time(right, left)
    raise no_overload()


def _span(left: timedelta, right: timedelta) -> timedelta:
    try:
        return left + right
    except OverflowError:
        raise Failed("duration overflow") from None


def _subtract(left: Any, right: Any) -> Any:
    if _is_number(left) and _is_number(right):
        return _bounded(left - right)
    if isinstance(left, (datetime, timedelta)) and type(left) is type(right):
        return left - right  # type: ignore[operator]  # both are of one type
    if isinstance(left, datetime) and isinstance(right, timedelta):
        return _in_time(left, -right)
    raise no_overload()


def _in_time(when: datetime, span: timedelta) -> datetime:
    try:
        return when + span
    except OverflowError:
        raise Failed("timestamp overflow") from None


def _multiply(left: Any, right: Any) -> Any:
    if _is_number(left) and _is_number(right):
        return _bounded(left * right)
    raise no_overload()


def _divide(left: Any, right: Any) -> Any:
    if not (_is_number(left) and _is_number(right)):
        raise no_overload()
    if type(left) is int and type(right) is int:
        if right == 0:
            raise Failed("division by zero")
        quotient = abs(left) // abs(right)
        return quotient if (left < 0) == (right < 0) else -quotient
    if right == 0:
        if left == 0 or left != left:
            return math.nan
        return math.copysign(math.inf, left) * math.copysign(1.0, right)
    return left / right


def _modulo(left: Any, right: Any) -> Any:
    if type(left) is not int or type(right) is not int:
        if not (_is_whole(left) and _is_whole(right)):
            raise no_overload()
        left, right = int(left), int(right)
    if right == 0:
        raise Failed("modulus by zero")
    rest = abs(left) % abs(right)
    return -rest if left < 0 else rest


ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": _add,
    "-": _subtract,
    "*": _multiply,
    "/": _divide,
    "%": _modulo,
}


def negated(value: Any) -> bool:
    if not isinstance(value, bool):
        raise no_overload()
    return not value


def minus(value: Any) -> Any:
    if _is_number(value):
        return _bounded(-value)
    if isinstance(value, timedelta):
        return -value
    raise no_overload()


def item(owner: Any, key: Any) -> Any:
    """`owner[key]`."""
    if isinstance(owner, dict):
        if isinstance(key, (list, dict)):
            raise no_overload()
        if key not in owner:
            raise Missing(f"no such key: {key}")
        return owner[key]
    if isinstance(owner, list) and _is_whole(key):
        if not 0 <= key < len(owner):
            raise Failed(f"index out of bounds: {int(key)}")
        return owner[int(key)]
    raise no_overload()


# -- functions --


def _size(value: Any) -> int:
    if isinstance(value, (str, bytes, list, dict)):
        return len(value)
    raise no_overload()


def _int(value: Any) -> int:
    if isinstance(value, str) and len(value) <= _MOST_DIGITS and re.fullmatch("[+-]?[0-9]+", value, re.ASCII):
        return int(_bounded(int(value)))
    if _is_number(value):
        if not math.isfinite(value) or not _LEAST <= value <= _MOST:
            raise Failed("integer overflow")
        return int(value)
    if isinstance(value, datetime):
        return int(value.timestamp())
    if isinstance(value, str):
        raise Failed(f'strconv.ParseInt: parsing "{value[:_MOST_DIGITS]}": invalid syntax')
    raise no_overload()


def _uint(value: Any) -> int:
    number = _int(value)
    if number < 0:
        raise Failed("unsigned integer overflow")
    return number


def _double(value: Any) -> float:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise Failed(f'strconv.ParseFloat: parsing "{value}": invalid syntax') from None
    if _is_number(value):
        return float(value)
    raise no_overload()


def _float(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        _copy(len(value))
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise Failed("invalid UTF-8 in bytes, cannot convert to string") from None
    if type(value) is float:
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else _float(value)
    if type(value) is int:
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    raise no_overload()


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        _copy(len(value))
        return value.encode("utf-8", "replace")
    if isinstance(value, bytes):
        return value
    raise no_overload()


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "True", "TRUE", "t", "1"):
        return True
    if value in ("false", "False", "FALSE", "f", "0"):
        return False
    raise Failed(f'strconv.ParseBool: parsing "{value}": invalid syntax') if isinstance(value, str) else no_overload()


def _timestamp(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    try:
        if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d[Tt]", value, re.ASCII):
            found = datetime.fromisoformat(value.upper())
            if found.tzinfo is not None:
                return found.astimezone(UTC)
        elif _is_number(value):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise Failed(f"type conversion error from '{value}' to 'google.protobuf.Timestamp'") from None
    if isinstance(value, str):
        raise Failed(f"type conversion error from '{value}' to 'google.protobuf.Timestamp'")
    raise no_overload()


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(h|ms|us|µs|ns|m|s)")


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise no_overload()
    sign, text = (-1, value[1:]) if value.startswith("-") else (1, value)
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text):
        raise Failed(f'time: invalid duration "{value}"')
    try:
        return sign * timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    except OverflowError:
        raise Failed(f'time: invalid duration "{value}"') from None


def _same(value: Any) -> Any:
    return value


@functools.lru_cache(32)
def _pattern(text: str) -> Linear:
    from pydapr.lib import re2_linear  # few expressions need it

    try:
        return re2_linear.Linear(text)
    except re2.Unusable as error:
        raise Failed(str(error)) from None


def _matches(text: Any, pattern: Any) -> bool:
    if not isinstance(text, str) or not isinstance(pattern, str):
        raise no_overload()
    return _pattern(pattern).search(text, spend)


def _of_text(act: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    def method(text: Any, part: Any) -> bool:
        if isinstance(text, str) and isinstance(part, str):
            return act(text, part)
        raise no_overload()

    return method


def _of_time(in_time: Callable[[datetime], int], in_span: Callable[[float], float] | None) -> Callable[[Any], int]:
    def method(value: Any) -> int:
        if isinstance(value, datetime):
            return in_time(value)
        if isinstance(value, timedelta) and in_span is not None:
            return int(in_span(value.total_seconds()))
        raise no_overload()

    return method


FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "size": (_size, (1,)),
    "int": (_int, (1,)),
    "uint": (_uint, (1,)),
    "double": (_double, (1,)),
    "string": (_string, (1,)),
    "bytes": (_bytes, (1,)),
    "bool": (_bool, (1,)),
    "dyn": (_same, (1,)),
    "timestamp": (_timestamp, (1,)),
    "duration": (_duration, (1,)),
    "matches": (_matches, (2,)),
}
"""By name, with how many arguments they take."""

METHODS: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "size": (_size, (0,)),
    "startsWith": (_of_text(str.startswith), (1,)),
    "endsWith": (_of_text(str.endswith), (1,)),
    "contains": (_of_text(operator.contains), (1,)),
    "matches": (_matches, (1,)),
    "getFullYear": (_of_time(lambda when: when.year, None), (0,)),
    "getMonth": (_of_time(lambda when: when.month - 1, None), (0,)),
    "getDate": (_of_time(lambda when: when.day, None), (0,)),
    "getDayOfMonth": (_of_time(lambda when: when.day - 1, None), (0,)),
    "getDayOfWeek": (_of_time(lambda when: when.isoweekday() % 7, None), (0,)),
    "getDayOfYear": (_of_time(lambda when: when.timetuple().tm_yday - 1, None), (0,)),
    "getHours": (_of_time(lambda when: when.hour, lambda seconds: seconds / 3600), (0,)),
    "getMinutes": (_of_time(lambda when: when.minute, lambda seconds: seconds / 60), (0,)),
    "getSeconds": (_of_time(lambda when: when.second, lambda seconds: seconds), (0,)),
    "getMilliseconds": (
        _of_time(lambda when: when.microsecond // 1000, lambda seconds: seconds * 1000 % 1000),
        (0,),
    ),
}
"""By name, with how many arguments they take besides what they are called on."""
