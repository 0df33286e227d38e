"""The Common Expression Language: an expression becomes a function of its variables. Pure.

Used by `blocks.pubsub.routing` for the rules of subscriptions. Values are those of JSON, and bytes, timestamps and
durations; all are dynamic, so what has the wrong type shows when the function is called, as with the original's
variables of any type. Numbers compare and mix without regard to their type. Of the language's standard functions and
macros all are here but `type`, and time zones.

    expression = or [ "?" or ":" expression ]
    or         = and { "||" and }            and = relation { "&&" relation }
    relation   = sum { ("<" | "<=" | ">" | ">=" | "==" | "!=" | "in") sum }
    sum        = product { ("+" | "-") product }
    product    = unary { ("*" | "/" | "%") unary }
    unary      = { "!" } member | { "-" } member
    member     = primary { "." name [ "(" arguments ")" ] | "[" expression "]" }
    primary    = name [ "(" arguments ")" ] | "(" expression ")" | list | map | literal
"""

from __future__ import annotations

import re

from pydapr.lib import cel_functions
from pydapr.lib import cel_nodes as nodes
from pydapr.lib.cel_functions import Failed
from pydapr.lib.cel_nodes import Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = ["Failed", "Invalid", "compile"]


class Invalid(ValueError):
    """The expression is none."""


_TOKEN = re.compile(
    r"""
      (?P<space>[ \t\n\r\f]+|//[^\n]*)
    | (?P<float>[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|\.[0-9]+(?:[eE][+-]?[0-9]+)?)
    | (?P<int>(?:0x[0-9a-fA-F]+|[0-9]+)[uU]?)
    | (?P<text>(?P<prefix>[rRbB]{0,2})(?:\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}(?:[^\\]|\\.)*?'{3}
        |"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>&&|\|\||[<>=!]=|[<>!?:.,+\-*/%()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|X([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.))", re.DOTALL
)
_SIMPLE = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "?": "?", '"': '"', "'": "'", "`": "`",
}  # fmt: skip
_MAX_DEPTH = 100
_MAX_LENGTH = 1 << 16
_MAX_DIGITS, _TOO_LARGE = 1000, 1 << 64
_CONSTANTS = {"true": True, "false": False, "null": None}
_RELATIONS = frozenset({"<", "<=", ">", ">=", "==", "!=", "in"})


def compile(expression: str) -> Node:
    """The function for `expression`: it raises `Failed`, and nothing else, when it has no value. Raises `Invalid`."""
    reader = _Reader(_tokens(expression))
    try:
        node = reader.expression()
    except RecursionError:
        raise Invalid("expression recursion limit exceeded") from None
    if reader.kind != "end":
        raise reader.unexpected()
    return nodes.sealed(node)


def _tokens(expression: str) -> list[tuple[str, str]]:
    if len(expression) > _MAX_LENGTH:
        raise Invalid(f"the expression is longer than {_MAX_LENGTH} characters")
    out = []
    position = 0
    while position < len(expression):
        match = _TOKEN.match(expression, position)
        if match is None:
            raise Invalid(f"Syntax error: token recognition error at: {expression[position : position + 10]!r}")
        kind = match.lastgroup or ""
        if kind == "prefix":
            kind = "text"
        if kind != "space":
            out.append((kind, match[0]))
        position = match.end()
    out.append(("end", ""))
    return out


class _Reader:
    """Reads tokens from left to right."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._position = 0
        self._depth = 0

    @property
    def kind(self) -> str:
        return self._tokens[self._position][0]

    def unexpected(self) -> Invalid:
        text = self._tokens[self._position][1]
        return Invalid(f"Syntax error: mismatched input '{text or '<EOF>'}'")

    def _found(self, *signs: str) -> str:
        """The next token if it is one of `signs`, which is taken then; "" if not."""
        kind, text = self._tokens[self._position]
        if text in signs and kind in ("sign", "name"):
            self._position += 1
            return text
        return ""

    def _expect(self, sign: str) -> None:
        if not self._found(sign):
            raise self.unexpected()

    def expression(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise Invalid("expression recursion limit exceeded")
        condition = self._or()
        if self._found("?"):
            then = self._or()
            self._expect(":")
            condition = nodes.choice(condition, then, self.expression())
        self._depth -= 1
        return condition

    def _or(self) -> Node:
        parts = [self._and()]
        while self._found("||"):
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else nodes.logic(parts, True)

    def _and(self) -> Node:
        parts = [self._relation()]
        while self._found("&&"):
            parts.append(self._relation())
        return parts[0] if len(parts) == 1 else nodes.logic(parts, False)

    def _relation(self) -> Node:
        left = self._sum()
        while sign := self._found(*_RELATIONS):
            left = nodes.binary(cel_functions.RELATIONS[sign], left, self._sum())
        return left

    def _sum(self) -> Node:
        left = self._product()
        while sign := self._found("+", "-"):
            left = nodes.binary(cel_functions.ARITHMETIC[sign], left, self._product())
        return left

    def _product(self) -> Node:
        left = self._unary()
        while sign := self._found("*", "/", "%"):
            left = nodes.binary(cel_functions.ARITHMETIC[sign], left, self._unary())
        return left

    def _unary(self) -> Node:
        count = 0
        sign = self._found("!", "-")
        while sign and self._found(sign):
            count += 1
        inner = self._member()
        if not sign:
            return inner
        count += 1
        act = cel_functions.negated if sign == "!" else cel_functions.minus
        return nodes.times(act, inner, count)

    def _member(self) -> Node:
        node = self._primary()
        while True:
            if self._found("."):
                name = self._name()
                if self._found("("):
                    node = self._method(node, name)
                else:
                    node = nodes.field(node, name)
            elif self._found("["):
                node = nodes.binary(cel_functions.item, node, self.expression())
                self._expect("]")
            else:
                return node

    def _name(self) -> str:
        kind, text = self._tokens[self._position]
        if kind != "name":
            raise self.unexpected()
        self._position += 1
        return text

    def _arguments(self, end: str = ")") -> list[Node]:
        out: list[Node] = []
        while not self._found(end):
            if out:
                self._expect(",")
                if end == "]" and self._found(end):
                    break
            out.append(self.expression())
        return out

    def _primary(self) -> Node:
        kind, text = self._tokens[self._position]
        if self._found("("):
            node = self.expression()
            self._expect(")")
            return node
        if self._found("["):
            return nodes.listed(self._arguments("]"))
        if self._found("{"):
            return self._map()
        if kind == "name":
            self._position += 1
            return self._named(text)
        if kind in ("int", "float", "text"):
            self._position += 1
            return nodes.constant(_literal(kind, text))
        raise self.unexpected()

    def _named(self, name: str) -> Node:
        if name in _CONSTANTS:
            return nodes.constant(_CONSTANTS[name])
        if not self._found("("):
            return nodes.variable(name)
        if name == "has":
            return self._has()
        function = cel_functions.FUNCTIONS.get(name)
        arguments = self._arguments()
        if function is None or len(arguments) not in function[1]:
            raise Invalid(f"undeclared reference to '{name}' (in container '')")
        return nodes.call(function[0], arguments)

    def _has(self) -> Node:
        """`has(a.b)`: whether the field is there; all before the last name must be."""
        inner = self._primary()
        name = ""
        while not self._found(")"):
            if name:
                inner = nodes.field(inner, name)
            if self._found("["):
                inner = nodes.binary(cel_functions.item, inner, self.expression())
                self._expect("]")
                name = ""
                continue
            self._expect(".")
            name = self._name()
        if not name:
            raise Invalid("invalid argument to has() macro")
        return nodes.is_there(inner, name)

    def _method(self, target: Node, name: str) -> Node:
        if name in nodes.MACROS:
            return self._macro(target, name)
        method = cel_functions.METHODS.get(name)
        arguments = self._arguments()
        if method is None or len(arguments) not in method[1]:
            raise Invalid(f"undeclared reference to '{name}' (in container '')")
        return nodes.call(method[0], [target, *arguments])

    def _macro(self, target: Node, name: str) -> Node:
        variable = self._name()
        steps = []
        while self._found(","):
            steps.append(self.expression())
        self._expect(")")
        if len(steps) != 1 and not (name == "map" and len(steps) == 2):
            raise Invalid(f"undeclared reference to '{name}' (in container '')")
        return nodes.MACROS[name](target, variable, *steps)

    def _map(self) -> Node:
        pairs: list[tuple[Node, Node]] = []
        while not self._found("}"):
            if pairs:
                self._expect(",")
                if self._found("}"):
                    break
            key = self.expression()
            self._expect(":")
            pairs.append((key, self.expression()))
        return nodes.mapped(pairs)


# -- literals --


def _literal(kind: str, text: str) -> Any:
    if kind == "float":
        return float(text)
    if kind == "int":
        digits = text.rstrip("uU")
        number = int(digits, 16 if text.startswith("0x") else 10) if len(digits) < _MAX_DIGITS else _TOO_LARGE
        if number >= 1 << (64 if text[-1] in "uU" else 63):
            raise Invalid(f"invalid int literal: {text[:_MAX_DIGITS]}")
        return number
    prefix = text[: min(text.index(quote) for quote in "\"'" if quote in text)].lower()
    body = text[len(prefix) :]
    size = 3 if body[:3] in ('"""', "'''") and len(body) >= 6 else 1
    body = body[size:-size]
    is_bytes = "b" in prefix
    if "r" not in prefix:
        body = _ESCAPE.sub(lambda match: _letter(match, text), body)
    return body.encode("utf-8", "replace") if is_bytes else body


def _letter(match: re.Match[str], text: str) -> str:
    code = match[1] or match[2] or match[3] or match[4]
    if code:
        return chr(int(code, 16)) if int(code, 16) < 0x110000 else "\ufffd"
    if match[5]:
        return chr(int(match[5], 8))
    if match[6] not in _SIMPLE:
        raise Invalid(f"Syntax error: token recognition error at: {text!r}")
    return _SIMPLE[match[6]]
