"""What a command line may look like: flags, values, and the errors for everything else.

The grammar and the wording of its errors are those of Dapr's command line: flags may stand before and after
positional arguments, `--` ends them, switches take `--flag=false`, short switches may be joined. Pure;
`pydapr.cli` asks for a command's flags, parses with them and hands the `Values` to the command.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

Kind = Literal["string", "int", "strings", "bool"]
Value = str | int | bool | list[str]

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class Flag(NamedTuple):
    """One flag of a command; `deprecated` flags work, warn and are not shown."""

    name: str
    usage: str
    short: str = ""
    kind: Kind = "string"
    default: str | int | bool = ""
    required: bool = False
    deprecated: str = ""

    def title(self) -> str:
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


class Invalid(Exception):
    """The command line breaks the grammar; the text is what the user gets to read."""


class Values:
    """What the flags of one command line came to; the name asked for must be a flag of the command."""

    def __init__(self, flags: Sequence[Flag]) -> None:
        self._flags = {flag.name: flag for flag in flags}
        self._given: dict[str, Value] = {}
        self.deprecated: list[Flag] = []

    def give(self, flag: Flag, text: str) -> None:
        if flag.kind == "strings":
            many = self._given.setdefault(flag.name, [])
            assert isinstance(many, list)
            many.extend(_csv(text))
        else:
            self._given[flag.name] = _convert(flag, text)
        if flag.deprecated and flag not in self.deprecated:
            self.deprecated.append(flag)

    def is_given(self, name: str) -> bool:
        return name in self._given

    def given(self) -> list[str]:
        return sorted(self._given)

    def text(self, name: str) -> str:
        return str(self._given.get(name, self._flags[name].default))

    def number(self, name: str) -> int:
        return int(str(self._given.get(name, self._flags[name].default)))

    def switch(self, name: str) -> bool:
        return bool(self._given.get(name, False))

    def many(self, name: str) -> list[str]:
        value = self._given.get(name)
        return value if isinstance(value, list) else []


def _csv(text: str) -> list[str]:
    if '"' not in text:
        return text.split(",") if text else []
    import csv

    return next(csv.reader([text]), [])


def _convert(flag: Flag, text: str) -> Value:
    match flag.kind:
        case "int":
            try:
                return int(text, 0)
            except ValueError:
                raise Invalid(_not("strconv.ParseInt", flag, text)) from None
        case "bool":
            if text in _TRUE or text in _FALSE:
                return text in _TRUE
            raise Invalid(_not("strconv.ParseBool", flag, text))
    return text


def _not(function: str, flag: Flag, text: str) -> str:
    quoted = quote(text)
    return f'invalid argument {quoted} for "{flag.title()}" flag: {function}: parsing {quoted}: invalid syntax'


def quote(text: str) -> str:
    """The text in double quotes, as Dapr's messages show it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def parse(flags: Sequence[Flag], arguments: Sequence[str]) -> tuple[Values, list[str]]:
    """Flags and positional arguments of a command line. Raises `Invalid`."""
    values = Values(flags)
    long = {flag.name: flag for flag in flags}
    short = {flag.short: flag for flag in flags if flag.short}
    positional: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            positional.extend(rest)
        elif argument.startswith("--"):
            _long(values, long, argument, rest)
        elif len(argument) > 1 and argument[0] == "-":
            _shorts(values, short, argument, rest)
        else:
            positional.append(argument)
    return values, positional


def _long(values: Values, flags: dict[str, Flag], argument: str, rest: Iterator[str]) -> None:
    name, has_value, text = argument[2:].partition("=")
    if not name or name[0] == "-":
        raise Invalid(f"bad flag syntax: {argument}")
    flag = flags.get(name)
    if flag is None:
        raise Invalid(f"unknown flag: --{name}")
    if not has_value:
        text = "true" if flag.kind == "bool" else _next(rest, f"--{name}")
    values.give(flag, text)


def _shorts(values: Values, flags: dict[str, Flag], argument: str, rest: Iterator[str]) -> None:
    letters = argument[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = flags.get(letter)
        if flag is None:
            raise Invalid(f"unknown shorthand flag: '{letter}' in {argument}")
        if letters.startswith("="):
            return values.give(flag, letters[1:])
        if flag.kind != "bool":
            return values.give(flag, letters or _next(rest, f"'{letter}' in {argument}"))
        values.give(flag, "true")
    return None


def _next(rest: Iterator[str], where: str) -> str:
    for text in rest:
        return text
    raise Invalid(f"flag needs an argument: {where}")


def check_required(flags: Sequence[Flag], values: Values) -> None:
    """Raises `Invalid` when a required flag is absent."""
    missing = [quote(flag.name) for flag in sorted(flags) if flag.required and not values.is_given(flag.name)]
    if missing:
        raise Invalid(f"required flag(s) {', '.join(missing)} not set")
