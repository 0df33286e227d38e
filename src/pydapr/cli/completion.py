"""`dapr completion`: scripts that let a shell complete commands and flags.

The scripts hold all words themselves, so a Tab costs no process.
"""

import sys
from importlib import import_module

import pydapr.cli as cli
from pydapr.cli import grammar, usage

FLAGS: tuple[grammar.Flag, ...] = ()

EXAMPLE = """\
# bash, for this terminal; add the line to ~/.bashrc for all
source <(dapr completion bash)

# zsh
dapr completion zsh > "${fpath[1]}/_dapr"

# fish
dapr completion fish > ~/.config/fish/completions/dapr.fish
"""

SHELLS = ("bash", "fish", "zsh")


def run(_: grammar.Values, arguments: list[str]) -> int:
    if not arguments or arguments[0] not in SHELLS:
        shorts = {shell: f"Generates {shell} completion scripts" for shell in SHELLS}
        how = usage.describe_group("dapr completion", shorts, [usage.HELP], inherits=True)
        sys.stdout.write(f"Generates shell completion scripts\n\n{how}")
        return 0
    words = {name: _flags(name) for name in cli.COMMANDS}
    script = {"bash": _bash, "fish": _fish, "zsh": _zsh}[arguments[0]]
    sys.stdout.write(script(words))
    return 0


def _flags(command: str) -> list[grammar.Flag]:
    if command == "completion":
        return [usage.HELP]
    module = import_module(f"pydapr.cli.{cli.COMMANDS[command][0]}")
    return [flag for flag in (*module.FLAGS, *usage.GLOBAL, usage.HELP) if not flag.deprecated]


def _case(words: dict[str, list[grammar.Flag]]) -> str:
    lines = [f"    {name}) words='{_following(name, flags)}' ;;" for name, flags in words.items()]
    return "\n".join(lines)


def _following(command: str, flags: list[grammar.Flag]) -> str:
    arguments = SHELLS if command == "completion" else ()
    return " ".join([*(f"--{flag.name}" for flag in flags), *arguments])


def _bash(words: dict[str, list[grammar.Flag]]) -> str:
    return f"""# bash completion for dapr
_dapr() {{
  local words
  case "${{COMP_WORDS[1]}}" in
{_case(words)}
  esac
  [ "$COMP_CWORD" -eq 1 ] && words='{" ".join([*words, "help"])}'
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _dapr dapr
"""


def _zsh(words: dict[str, list[grammar.Flag]]) -> str:
    return f"""#compdef dapr
_dapr() {{
  local words_at="$words[2]" words
  case "$words_at" in
{_case(words)}
  esac
  (( CURRENT == 2 )) && words='{" ".join([*words, "help"])}'
  compadd -- ${{=words}}
  (( CURRENT > 2 )) && _files
}}
compdef _dapr dapr
"""


def _fish(words: dict[str, list[grammar.Flag]]) -> str:
    lines = ["# fish completion for dapr"]
    for name, flags in words.items():
        short = cli.COMMANDS[name][1].replace("'", "\\'")
        lines.append(f"complete -c dapr -n __fish_use_subcommand -a {name} -d '{short}'")
        for flag in flags:
            letter = f" -s {flag.short}" if flag.short else ""
            needs = "" if flag.kind == "bool" else " -r"
            says = flag.usage.replace("'", "\\'")
            only = f"'__fish_seen_subcommand_from {name}'"
            lines.append(f"complete -c dapr -n {only} -l {flag.name}{letter}{needs} -d '{says}'")
    lines.append(f"complete -c dapr -n '__fish_seen_subcommand_from completion' -f -a '{' '.join(SHELLS)}'")
    return "\n".join(lines) + "\n"
