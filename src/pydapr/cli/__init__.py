"""The `dapr` command: runs apps beside sidecars, lists and stops them, calls them.

`main` finds the command, imports that one module and gives it the parsed flags. A command module has `FLAGS`,
`EXAMPLE` and `run(values, arguments) -> exit code`; the grammar is in `grammar.py`, help texts are made in
`usage.py`, and what commands say goes through `status.py`. Nothing else is imported to show help.
"""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

from pydapr.cli import grammar, status, usage

if TYPE_CHECKING:
    from collections.abc import Callable


class Command(Protocol):
    """What a module of a command offers."""

    FLAGS: tuple[grammar.Flag, ...]
    EXAMPLE: str
    run: "Callable[[grammar.Values, list[str]], int]"


COMMANDS = {
    "component": ("component", "Serve a component of pydapr to other sidecars as a pluggable component"),
    "components": ("components", "List the components that can be used, or the options of one"),
    "completion": ("completion", "Generates shell completion scripts"),
    "init": ("init", "Make the files of a Dapr home and start the control plane. Supported platforms: Self-hosted"),
    "invoke": (
        "invoke",
        "Invoke a method on a given Dapr application. Supported platforms: Self-hosted",
    ),
    "list": ("list_", "List all Dapr instances. Supported platforms: Kubernetes and self-hosted"),
    "publish": (
        "publish",
        "Publish a pub-sub event. Supported platforms: Self-hosted",
    ),
    "run": (
        "run",
        "Run Dapr and (optionally) your application side by side. Supported platforms: Self-hosted",
    ),
    "scheduler": ("scheduler", "Show, remove, export and import jobs and reminders. Supported platforms: Self-hosted"),
    "status": ("status_", "Show the services that runs use. Supported platforms: Self-hosted"),
    "stop": (
        "stop",
        "Stop Dapr instances and their associated apps. Supported platforms: Self-hosted",
    ),
    "uninstall": ("uninstall", "End the control plane and remove what init has made. Supported platforms: Self-hosted"),
    "version": ("version", "Print the Dapr runtime and CLI version"),
}
"""Name → module and what it does in one line."""

_HELP = ("help", "Help about any command")

_ROOT_FLAGS = (
    *usage.GLOBAL,
    grammar.Flag("help", "help for dapr", short="h", kind="bool"),
    grammar.Flag("version", "version for dapr", short="v", kind="bool"),
)

_USAGE_ERROR = 255

_BANNER = r"""
      __
  ___/ /___ ____  ____
 / _  / __ `/ _ \/ __/
/ // / /_/ / // / /
\___/\__,_/ .__/_/
         /_/

===============================
Distributed Application Runtime
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script `dapr`: run one command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        name, rest = _split(given)
    except grammar.Invalid as wrong:
        return _refuse(str(wrong), _root_usage())
    try:
        code = _root(rest) if name is None else _command(name, rest)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 128 + 2
    except BrokenPipeError:
        # The reader has seen enough; what is still buffered must not fail again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    return code


def _split(arguments: list[str]) -> tuple[str | None, list[str]]:
    """The first word that is no flag (or a flag's value) names the command; the rest belongs to it."""
    skip = False
    for at, argument in enumerate(arguments):
        if skip:
            skip = False
        elif argument == "--":
            break
        elif argument == "--runtime-path":
            skip = True
        elif not argument.startswith("-"):
            return argument, arguments[:at] + arguments[at + 1 :]
    return None, arguments


def _root(arguments: list[str]) -> int:
    try:
        values, _ = grammar.parse(_ROOT_FLAGS, arguments)
    except grammar.Invalid as wrong:
        return _refuse(str(wrong), _root_usage())
    if values.switch("version") and not values.switch("help"):
        from pydapr.cli import version

        return version.show(values, as_json=False)
    sys.stdout.write(f"{_BANNER}\n{_root_usage()}")
    return 0


def _command(name: str, arguments: list[str]) -> int:
    if name == _HELP[0]:
        return _help(arguments)
    if name not in COMMANDS:
        return _unknown(name)
    command = _load(name)
    flags = (*command.FLAGS, *usage.GLOBAL, usage.HELP)
    how = usage.describe(f"dapr {name}", command.FLAGS, command.EXAMPLE)
    try:
        values, positional = grammar.parse(flags, arguments)
        for flag in values.deprecated:
            sys.stderr.write(f"Flag --{flag.name} has been deprecated, {flag.deprecated}\n")
        if values.switch("help"):
            sys.stdout.write(f"{COMMANDS[name][1]}\n\n{how}")
            return 0
        grammar.check_required(flags, values)
    except grammar.Invalid as wrong:
        return _refuse(str(wrong), how)
    if values.switch("log-as-json"):
        status.use_json()
    return command.run(values, positional)


def _help(arguments: list[str]) -> int:
    words = [word for word in arguments if not word.startswith("-")]
    if words and words[0] in COMMANDS:
        return _command(words[0], ["--help"])
    if words and words[0] != _HELP[0]:
        topic = " ".join(f"`{word}`" for word in words)
        sys.stderr.write(f"Unknown help topic [{topic}]\n{_root_usage()}")
        return 0
    return _root(["--help"])


def _unknown(name: str) -> int:
    text = f'unknown command {grammar.quote(name)} for "dapr"'
    meant = usage.suggest(name, [*COMMANDS, _HELP[0]])
    if meant:
        text += "\n\nDid you mean this?\n" + "".join(f"\t{command}\n" for command in meant)
    sys.stderr.write(f"Error: {text}\nRun 'dapr --help' for usage.\n")
    sys.stdout.write(f"{text}\n")
    return _USAGE_ERROR


def _refuse(text: str, how: str) -> int:
    sys.stderr.write(f"Error: {text}\n{how}\n")
    sys.stdout.write(f"{text}\n")
    return _USAGE_ERROR


def _root_usage() -> str:
    shorts = {name: short for name, (_, short) in COMMANDS.items()} | {_HELP[0]: _HELP[1]}
    return usage.describe_group("dapr", shorts, _ROOT_FLAGS, inherits=False)


def _load(name: str) -> Command:
    from importlib import import_module

    return cast(Command, import_module(f"pydapr.cli.{COMMANDS[name][0]}"))
