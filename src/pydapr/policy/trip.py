"""When a circuit breaker trips: an expression of CEL over its counts becomes a function.

Comparisons of counts and whole numbers, joined by `&&`, `||`, `!` and parentheses, are read here: that is what
nearly all rules consist of. Everything else goes to a library, which is imported only then. Whatever is read here
means the same there; `tests/unit/policy/test_trip.py` proves it.

    rule       = all { "||" all }
    all        = one { "&&" one }
    one        = comparison | { "!" } "(" rule ")"
    comparison = operand ("<" | "<=" | ">" | ">=" | "==" | "!=") operand

An expression that has no value, because a name in it is unknown or a divisor is zero, does not trip.
"""

from __future__ import annotations

import operator
import re

from pydapr.policy.breaker import Counts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Trip = Callable[[Counts], bool]
    Operand = Callable[[Counts], int]

NAMES = {
    "requests": "requests",
    "totalSuccesses": "total_successes",
    "totalFailures": "total_failures",
    "consecutiveSuccesses": "consecutive_successes",
    "consecutiveFailures": "consecutive_failures",
}
"""What a rule calls a count, and what `Counts` calls it."""

_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_TOKEN = re.compile(r"[ \t\n\r]*([<>=!]=|[<>!()]|&&|\|\||(?:[A-Za-z]+|0|[1-9][0-9]{0,17})(?![A-Za-z0-9_.]))")
_MAX_DEPTH = 32


class Invalid(ValueError):
    """The expression cannot be compiled."""


def compile(expression: str) -> Trip:
    """The function that says whether to trip. Raises `Invalid`."""
    return plain(expression) or library(expression)


def plain(expression: str) -> Trip | None:
    """The function for a rule of the simple form, None for any other."""
    tokens = _tokens(expression)
    if tokens is None:
        return None
    try:
        reader = _Reader(tokens)
        rule = reader.rule()
    except _OtherForm:
        return None
    return rule if reader.is_at_end else None


def library(expression: str) -> Trip:
    """The same for any expression. Raises `Invalid`, also when the library is not there."""
    try:
        import cel
    except ImportError:
        raise Invalid(
            "only comparisons of counts and numbers, joined by &&, || and !, are possible without the library "
            "common-expression-language: pip install 'pydapr[cel]'"
        ) from None
    try:
        program = cel.compile(expression)
    except Exception as error:
        raise Invalid(str(error)) from None

    def trip(counts: Counts) -> bool:
        try:
            return program.execute({name: getattr(counts, slot) for name, slot in NAMES.items()}) is True
        except Exception:
            return False

    return trip


class _OtherForm(Exception):
    """Not a rule of the simple form."""


def _tokens(expression: str) -> list[str] | None:
    text = expression.rstrip(" \t\n\r")
    tokens = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            return None
        tokens.append(match[1])
        position = match.end()
    return tokens


class _Reader:
    """Reads the tokens of one rule from left to right."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = [*tokens, ""]
        self._position = 0
        self._depth = 0

    @property
    def is_at_end(self) -> bool:
        return not self._tokens[self._position]

    def _take(self) -> str:
        token = self._tokens[self._position]
        if token:
            self._position += 1
        return token

    def _found(self, token: str) -> bool:
        if self._tokens[self._position] != token:
            return False
        self._position += 1
        return True

    def rule(self) -> Trip:
        parts = [self._all()]
        while self._found("||"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else lambda counts: any(part(counts) for part in parts)

    def _all(self) -> Trip:
        parts = [self._one()]
        while self._found("&&"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda counts: all(part(counts) for part in parts)

    def _one(self) -> Trip:
        is_negated = False
        was_negated = False
        while self._found("!"):
            is_negated, was_negated = not is_negated, True
        if self._found("("):
            inner = self._inner()
            return (lambda counts: not inner(counts)) if is_negated else inner
        if was_negated:
            raise _OtherForm  # "!" binds closer than the comparison behind it
        return self._comparison()

    def _inner(self) -> Trip:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _OtherForm
        inner = self.rule()
        self._depth -= 1
        if not self._found(")"):
            raise _OtherForm
        return inner

    def _comparison(self) -> Trip:
        left = _operand(self._take())
        compare = _COMPARISONS.get(self._take())
        if compare is None:
            raise _OtherForm
        right = _operand(self._take())
        return lambda counts: compare(left(counts), right(counts))


def _operand(token: str) -> Operand:
    if token.isdigit():
        number = int(token)
        return lambda counts: number
    if token not in NAMES:
        raise _OtherForm
    count: Operand = operator.attrgetter(NAMES[token])
    return count
