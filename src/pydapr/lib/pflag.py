"""Command lines as spf13/pflag understands them; every process describes its flags in a table of `Flag`.

`parse` reads the arguments and answers values by name; wrong arguments raise `UsageError`, whose `output`
(usage text and reason) belongs on stderr and whose `status` is the exit code: 2, or 0 when help was wanted.
Nothing heavy is imported here, because each process start passes through (argparse costs 8 ms).

    --x v   --x=v   -x v (with `single_dash`, as Dapr rewrites it)   --switch   --switch=false   --   words
"""

from __future__ import annotations

from pydapr.lib import durations, quote
from pydapr.lib.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Value = str | bool | int | float | tuple[str, ...]

_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


class Flag(Record):
    """One flag: `kind` is string, strings, bool, int, uint or duration (float seconds)."""

    name: str
    default: Value
    usage: str
    kind: str = "string"
    deprecated: str = ""
    """What to use instead; such a flag works, is announced on stderr and left out of the usage text."""
    hidden: bool = False


class UsageError(Exception):
    """The arguments cannot be used, or help was asked for."""

    def __init__(self, output: str, status: int = 2) -> None:
        super().__init__(output)
        self.output, self.status = output, status


class Parsed:
    """The values, which of them were given, and what stderr must be told."""

    def __init__(self, flags: Sequence[Flag]) -> None:
        self._values: dict[str, Value] = {flag.name: flag.default for flag in flags}
        self.given: set[str] = set()
        self.words: list[str] = []
        self.warnings: list[str] = []

    def accept(self, flag: Flag, value: Value) -> None:
        """Takes a value from the command line; lists grow when given again."""
        before = self._values[flag.name]
        if flag.name in self.given and isinstance(before, tuple) and isinstance(value, tuple):
            value = before + value
        self._values[flag.name] = value
        self.given.add(flag.name)
        if flag.deprecated:
            self.warnings.append(f"Flag --{flag.name} has been deprecated, {flag.deprecated}\n")

    def string(self, name: str) -> str:
        value = self._values[name]
        assert isinstance(value, str)
        return value

    def strings(self, name: str) -> tuple[str, ...]:
        value = self._values[name]
        assert isinstance(value, tuple)
        return value

    def bool(self, name: str) -> bool:
        value = self._values[name]
        assert value is True or value is False
        return value

    def int(self, name: str) -> int:
        value = self._values[name]
        assert isinstance(value, int)
        return value

    def seconds(self, name: str) -> float:
        value = self._values[name]
        assert isinstance(value, int | float)
        return value


def parse(program: str, flags: Sequence[Flag], arguments: Sequence[str], single_dash: bool = True) -> Parsed:
    """The values of `flags` in `arguments`; raises UsageError."""
    parsed = Parsed(flags)
    known = {flag.name: flag for flag in flags}
    rest = iter([_doubled(word) for word in arguments] if single_dash else arguments)
    try:
        for word in rest:
            if word == "--":
                parsed.words.extend(rest)
            elif word.startswith("--"):
                _long(parsed, known, word, rest)
            elif len(word) > 1 and word[0] == "-":
                raise _short(word)
            else:
                parsed.words.append(word)
    except _HelpAsked as help_asked:
        raise UsageError("".join(parsed.warnings) + usage(program, flags), 0) from help_asked
    except ValueError as error:
        raise UsageError(f"{''.join(parsed.warnings)}{usage(program, flags)}{error}\n") from error
    return parsed


class _HelpAsked(Exception):
    pass


def _doubled(word: str) -> str:
    return f"-{word}" if len(word) > 2 and word[0] == "-" and word[1] != "-" else word


def _short(word: str) -> Exception:
    if word[1] == "h":
        return _HelpAsked()
    return ValueError(f"unknown shorthand flag: '{word[1]}' in {word}")


def _long(parsed: Parsed, known: dict[str, Flag], word: str, rest: Iterator[str]) -> None:
    name, equals, text = word[2:].partition("=")
    if not name or name[0] == "-":
        raise ValueError(f"bad flag syntax: {word}")
    flag = known.get(name)
    if flag is None:
        raise _HelpAsked if name == "help" else ValueError(f"unknown flag: --{name}")
    if not equals:
        if flag.kind == "bool":
            text = "true"
        else:
            following = next(rest, None)
            if following is None:
                raise ValueError(f"flag needs an argument: --{name}")
            text = following
    try:
        value = _READERS[flag.kind](text)
    except ValueError as error:
        raise ValueError(f"invalid argument {quote.go(text)} for {quote.go('--' + name)} flag: {error}") from error
    parsed.accept(flag, value)


def _bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"strconv.ParseBool: parsing {quote.go(text)}: invalid syntax")


def _int(text: str) -> int:
    return _integer(text, "ParseInt", -(1 << 63), (1 << 63) - 1)


def _uint(text: str) -> int:
    if text[:1] in ("+", "-"):
        raise _syntax(text, "ParseUint")
    return _integer(text, "ParseUint", 0, (1 << 64) - 1)


def _integer(text: str, function: str, least: int, most: int) -> int:
    digits = text[1:] if text[:1] in ("+", "-") else text
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567_"
    try:
        if not digits[:1].isdecimal() or not digits.isascii():
            raise ValueError
        number = int("0o" + digits[1:] if octal else digits, 0)
    except ValueError:
        raise _syntax(text, function) from None
    number = -number if text[0] == "-" else number
    if not least <= number <= most:
        raise ValueError(f"strconv.{function}: parsing {quote.go(text)}: value out of range")
    return number


def atoi(text: str) -> int:
    """A decimal number as Go's `strconv.Atoi` reads it; ports are texts on Dapr's command lines."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not digits.isdecimal() or not digits.isascii():
        raise _syntax(text, "Atoi")
    number = int(text)
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError(f"strconv.Atoi: parsing {quote.go(text)}: value out of range")
    return number


def _syntax(text: str, function: str) -> ValueError:
    return ValueError(f"strconv.{function}: parsing {quote.go(text)}: invalid syntax")


def _string(text: str) -> str:
    return text


def _strings(text: str) -> tuple[str, ...]:
    """One line of comma-separated values, quoted as in RFC 4180."""
    if not text:
        return ()
    if '"' not in text and "\n" not in text:
        return tuple(text.split(","))
    return tuple(_csv(text))


def _csv(text: str) -> Iterator[str]:
    position = 0
    while position <= len(text):
        if text[position : position + 1] == '"':
            value, position = _quoted(text, position)
        else:
            end = text.find(",", position)
            end = len(text) if end < 0 else end
            value = text[position:end].partition("\n")[0]
            if '"' in value:
                column = position + value.index('"') + 1
                raise ValueError(f'parse error on line 1, column {column}: bare " in non-quoted-field')
            ended = position + len(value)
            position = len(text) + 1 if text[ended : ended + 1] == "\n" else end + 1
        yield value


def _quoted(text: str, start: int) -> tuple[str, int]:
    value, position = "", start + 1
    while True:
        end = text.find('"', position)
        if end < 0:
            raise ValueError(f'parse error on line 1, column {len(text) + 1}: extraneous or missing " in quoted-field')
        value += text[position:end]
        following = text[end + 1 : end + 2]
        if following == '"':
            value, position = value + '"', end + 2
            continue
        if following in ("", ",", "\n"):
            return value, len(text) + 1 if following == "\n" else end + 2
        raise _unclosed(end + 1)


def _unclosed(column: int) -> ValueError:
    return ValueError(f'parse error on line 1, column {column}: extraneous or missing " in quoted-field')


_READERS: dict[str, Callable[[str], Value]] = {
    "string": _string,
    "strings": _strings,
    "bool": _bool,
    "int": _int,
    "uint": _uint,
    "duration": durations.parse,
}


def usage(program: str, flags: Sequence[Flag]) -> str:
    """The help text: one line per flag that is neither hidden nor deprecated, by name."""
    shown = sorted((flag for flag in flags if not flag.hidden and not flag.deprecated), key=lambda flag: flag.name)
    heads = ["      --" + flag.name + ("" if flag.kind == "bool" else f" {flag.kind}") for flag in shown]
    width = max(map(len, heads), default=0) + 3
    lines = [f"{head:<{width}}{flag.usage}{_default(flag)}\n" for head, flag in zip(heads, shown, strict=True)]
    return f"Usage of {program}:\n{''.join(lines)}"


def _default(flag: Flag) -> str:
    if not flag.default:
        return ""
    if flag.kind == "string":
        return f' (default "{flag.default}")'
    if flag.kind == "duration" and isinstance(flag.default, int | float):
        return f" (default {durations.text(flag.default)})"
    if isinstance(flag.default, tuple):
        return f" (default [{','.join(flag.default)}])"
    return f" (default {str(flag.default).lower()})"
