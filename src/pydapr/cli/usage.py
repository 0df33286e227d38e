"""The help texts: usage, examples, flags, laid out as Dapr's command line lays them out.

Pure; `pydapr.cli` prints what comes from here.
"""

from collections.abc import Iterable, Mapping, Sequence

from pydapr.cli import grammar

GLOBAL = (
    grammar.Flag("log-as-json", "Log output in JSON format", kind="bool"),
    grammar.Flag("runtime-path", "The path to the dapr runtime installation directory"),
)
"""Flags that every command takes."""

HELP = grammar.Flag("help", "Print this help message", short="h", kind="bool")


def describe(path: str, flags: Iterable[grammar.Flag], example: str = "") -> str:
    """How to use one command: what help prints after its description and errors print before exit."""
    parts = [f"Usage:\n  {path} [flags]"]
    if example:
        parts.append(f"Examples:\n\n{example}\n")
    parts.append(f"Flags:\n{table([*flags, HELP])}")
    parts.append(f"Global Flags:\n{table(GLOBAL)}\n")
    return "\n\n".join(parts)


def describe_group(path: str, commands: Mapping[str, str], flags: Sequence[grammar.Flag], inherits: bool) -> str:
    """How to use a command that only leads to others."""
    width = max(10, *map(len, commands))
    listed = "\n".join(f"  {name:{width}} {short}" for name, short in sorted(commands.items()))
    parts = [f"Usage:\n  {path} [flags]\n  {path} [command]", f"Available Commands:\n{listed}"]
    parts.append(f"Flags:\n{table(flags)}")
    if inherits:
        parts.append(f"Global Flags:\n{table(GLOBAL)}")
    parts.append(f'Use "{path} [command] --help" for more information about a command.\n')
    return "\n\n".join(parts)


def table(flags: Iterable[grammar.Flag]) -> str:
    """One line for each flag that is not deprecated, in alphabetical order."""
    shown = [(_left(flag), _right(flag)) for flag in sorted(flags) if not flag.deprecated]
    width = max((len(left) for left, _ in shown), default=0)
    return "\n".join(f"{left:{width}}   {right}" for left, right in shown)


def _left(flag: grammar.Flag) -> str:
    start = f"  -{flag.short}, --" if flag.short else "      --"
    return f"{start}{flag.name}" if flag.kind == "bool" else f"{start}{flag.name} {flag.kind}"


def _right(flag: grammar.Flag) -> str:
    if flag.default in ("", 0, False):
        return flag.usage
    default = grammar.quote(flag.default) if isinstance(flag.default, str) else flag.default
    return f"{flag.usage} (default {default})"


def suggest(name: str, commands: Iterable[str]) -> list[str]:
    """The commands a mistyped name may have meant."""
    wanted = name.lower()
    return [command for command in sorted(commands) if command.startswith(wanted) or _distance(wanted, command) <= 2]


def _distance(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]
