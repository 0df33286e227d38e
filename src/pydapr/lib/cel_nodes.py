"""What an expression of the Common Expression Language consists of: functions of the variables. Pure. For `lib.cel`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydapr.lib import cel_functions
from pydapr.lib.cel_functions import Failed, Missing

Variables = Mapping[str, Any]
Node = Callable[[Variables], Any]

_TURN = 10
"""What one turn of a macro costs, in the steps of `cel_functions.Effort`."""


_FAULTS = (ArithmeticError, TypeError, ValueError)
"""What Python raises for values that an operator is not for, such as numbers that no float can hold."""


def sealed(node: Node) -> Node:
    """A whole expression: however it fails, that is a `Failed`, and it takes no more steps than it may."""

    def evaluate(variables: Variables) -> Any:
        cel_functions.effort.left = cel_functions.MOST_STEPS
        try:
            return node(variables)
        except Failed:
            raise
        except RecursionError:
            raise Failed("expression recursion limit exceeded") from None
        except _FAULTS as fault:
            raise Failed(f"no such overload: {fault}") from None

    return evaluate


def constant(value: Any) -> Node:
    return lambda variables: value


def variable(name: str) -> Node:
    def node(variables: Variables) -> Any:
        try:
            return variables[name]
        except KeyError:
            raise Missing(f"no such attribute(s): {name}") from None

    return node


def field(target: Node, name: str) -> Node:
    def node(variables: Variables) -> Any:
        owner = target(variables)
        try:
            return owner[name]
        except KeyError:
            raise Missing(f"no such key: {name}") from None
        except (TypeError, IndexError):
            raise cel_functions.no_overload() from None

    return node


def is_there(target: Node, name: str) -> Node:
    def node(variables: Variables) -> Any:
        owner = target(variables)
        if not isinstance(owner, dict):
            raise cel_functions.no_overload()
        return name in owner

    return node


def binary(act: Callable[[Any, Any], Any], left: Node, right: Node) -> Node:
    return lambda variables: act(left(variables), right(variables))


def times(act: Callable[[Any], Any], inner: Node, count: int) -> Node:
    def node(variables: Variables) -> Any:
        value = inner(variables)
        for _ in range(count):
            value = act(value)
        return value

    return node


def call(function: Callable[..., Any], arguments: list[Node]) -> Node:
    return lambda variables: function(*[argument(variables) for argument in arguments])


def listed(items: list[Node]) -> Node:
    return lambda variables: [item(variables) for item in items]


def mapped(pairs: list[tuple[Node, Node]]) -> Node:
    def node(variables: Variables) -> Any:
        out = {}
        for key, value in pairs:
            name = key(variables)
            if isinstance(name, (list, dict)):
                raise cel_functions.no_overload()
            out[name] = value(variables)
        return out

    return node


def choice(condition: Node, then: Node, other: Node) -> Node:
    def node(variables: Variables) -> Any:
        is_true = condition(variables)
        if not isinstance(is_true, bool):
            raise cel_functions.no_overload()
        return then(variables) if is_true else other(variables)

    return node


def logic(parts: Iterable[Node], decides: bool) -> Node:
    """`||` and `&&`: one part that decides does so wherever it stands, even beside parts that have no value."""

    def node(variables: Variables) -> Any:
        failure: Failed | None = None
        for part in parts:
            try:
                value = part(variables)
            except Failed as error:
                failure = failure or error
                continue
            except _FAULTS:
                failure = failure or cel_functions.no_overload()
                continue
            if value is decides:
                return decides
            if not isinstance(value, bool):
                failure = failure or cel_functions.no_overload()
        if failure is not None:
            raise failure
        return not decides

    return node


# -- macros --


def _each(target: Node, variables: Variables, name: str) -> Iterator[Variables]:
    """The variables of each turn of a macro, which have one more among them."""
    values = target(variables)
    if not isinstance(values, (list, dict)):
        raise cel_functions.no_overload()
    for value in values:
        cel_functions.spend(_TURN)
        yield {**variables, name: value}


def _in_turn(step: Node, turn: Variables) -> Node:
    return lambda _: step(turn)


def _quantifier(decides: bool) -> Callable[[Node, str, Node], Node]:
    def macro(target: Node, name: str, step: Node) -> Node:
        def node(variables: Variables) -> Any:
            turns = _each(target, variables, name)
            return logic((_in_turn(step, turn) for turn in turns), decides)(variables)

        return node

    return macro


def _exists_one(target: Node, name: str, step: Node) -> Node:
    return lambda variables: sum(step(turn) is True for turn in _each(target, variables, name)) == 1


def _filtered(target: Node, name: str, step: Node) -> Node:
    return lambda variables: [turn[name] for turn in _each(target, variables, name) if step(turn) is True]


def _mapped(target: Node, name: str, step: Node, last: Node | None = None) -> Node:
    if last is None:
        return lambda variables: [step(turn) for turn in _each(target, variables, name)]
    return lambda variables: [last(turn) for turn in _each(target, variables, name) if step(turn) is True]


MACROS: dict[str, Callable[..., Node]] = {
    "all": _quantifier(False),
    "exists": _quantifier(True),
    "exists_one": _exists_one,
    "filter": _filtered,
    "map": _mapped,
}
