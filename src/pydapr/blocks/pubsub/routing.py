"""Which path of the app an event goes to: the first rule that holds, in the order of the subscription. Pure.

`subscriptions` makes the rules, `deliver` asks. A rule's expression is CEL over `event`, read by `lib.cel`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydapr.lib.record import Record


class Invalid(ValueError):
    """The expression of a rule is none. The message is the reason."""


class Undecided(Exception):
    """A rule has no answer for this event. The message is the reason."""


class Rule(Record):
    """Events for which `holds` go to `path`; without it all do. `match` is the expression, for those who look at it."""

    path: str
    match: str = ""
    holds: Callable[[Mapping[str, Any]], Any] | None = None


def rule(match: str, path: str) -> Rule:
    """The rule of a subscription. Raises `Invalid`."""
    text = match.strip()
    if not text:
        return Rule(path)
    from pydapr.lib import cel  # few subscriptions have such rules

    try:
        return Rule(path, text, cel.compile(text))
    except cel.Invalid as error:
        raise Invalid(str(error)) from None


def path(rules: Sequence[Rule], event: Mapping[str, Any]) -> str | None:
    """Where `event` goes, None for nowhere. Raises `Undecided`."""
    for one in rules:
        if one.holds is None:
            return one.path
        try:
            result = one.holds({"event": event})
        except Exception as error:
            from pydapr.lib import cel

            if not isinstance(error, cel.Failed):
                raise
            raise Undecided(str(error)) from None
        if not isinstance(result, bool):
            raise Undecided(f"the result of match expression {one.match} was not a boolean")
        if result:
            return one.path
    return None
