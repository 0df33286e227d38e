"""`dapr components`: the components that resources can name, and with a type its options."""

import sys
from typing import Any

from pydapr.cli import grammar, kinds, status

FLAGS = (
    grammar.Flag("all-namespaces", "If true, list all Dapr components in all namespaces", short="A", kind="bool"),
    grammar.Flag("kind", "Only components of this kind, such as state or pubsub"),
    grammar.Flag("kubernetes", "List all Dapr components in a Kubernetes cluster", short="k", kind="bool"),
    grammar.Flag("name", "The name of the component in a Kubernetes cluster", short="n"),
    grammar.Flag("namespace", "List components of this namespace in a Kubernetes cluster"),
    grammar.Flag("output", "The output format. Valid values are: json, yaml, or table (default)", short="o"),
)

EXAMPLE = """\
# List all components
dapr components

# What a component may be told
dapr components state.redis

# For programs
dapr components --kind pubsub --output json
"""

_WIDTH = 76


def run(values: grammar.Values, arguments: list[str]) -> int:
    output = values.text("output")
    if output not in ("", "json", "yaml", "table"):
        status.failure("An invalid output format was specified.")
        return 1
    if any(map(values.is_given, ("kubernetes", "name", "namespace", "all-namespaces"))):
        status.failure(
            "dapr components --kubernetes is not available. To list components in a cluster, use "
            "'kubectl get components.dapr.io'; without flags, this command lists the types that there are"
        )
        return 1
    if len(arguments) > 1:
        status.failure("One component at a time, please")
        return 1
    listed = kinds.everything()
    if arguments:
        return _show_one(arguments[0], listed, output)
    if kind := values.text("kind").lower():
        listed = [one for one in listed if one.type.partition(".")[0].lower() == kind]
    rows = [
        {"type": one.type, "version": one.version, "origin": one.origin, "description": one.description}
        for one in listed
    ]
    if output in ("json", "yaml"):
        sys.stdout.write(_document(rows, output))
    elif rows:
        short = [{**row, "description": _first_line(row["description"], row["type"])} for row in rows]
        titles = {"type": "TYPE", "version": "VERSION", "origin": "ORIGIN", "description": "DESCRIPTION"}
        sys.stdout.write(_table(short, titles))
    else:
        sys.stdout.write("No components found.\n")
    return 0


def _show_one(name: str, listed: list[kinds.Listed], output: str) -> int:
    wanted, _, version = name.lower().partition("/")
    fitting = [one for one in listed if one.type.lower() == wanted and version in ("", one.version)]
    if not fitting:
        # Other names of a type lead to it, as in a resource.
        found, reason = kinds.find(wanted, version)
        fitting = [one for one in listed if found is not None and one.found is found]
        if not fitting:
            status.failure(reason or f"There is no component {name}; `dapr components` lists all")
            return 1
    entries = [_entry(one) for one in fitting]
    if output in ("json", "yaml"):
        sys.stdout.write(_document(entries[0] if len(entries) == 1 else entries, output))
    else:
        sys.stdout.write("\n".join(map(_page, entries)))
    return 0


def _entry(one: kinds.Listed) -> dict[str, Any]:
    about: dict[str, Any] = {
        "type": one.type,
        "version": one.version,
        "origin": one.origin,
        "description": one.description,
    }
    if one.found is not None:
        about["metadata"] = one.found.entry()["metadata"]
    return about


def _page(entry: dict[str, Any]) -> str:
    lines = [f"{entry['type']}/{entry['version']} ({entry['origin']})", "", entry["description"], ""]
    if "metadata" not in entry:
        return "\n".join(lines[:-1]) + "\n"
    if not entry["metadata"]:
        return "\n".join([*lines, "It has no options."]) + "\n"
    rows = [
        {
            "name": ", ".join([option["name"], *option.get("aliases", ())]),
            "type": option["type"],
            "default": "(required)" if option["required"] else option.get("default", ""),
            "description": option["description"],
        }
        for option in entry["metadata"]
    ]
    titles = {"name": "OPTION", "type": "TYPE", "default": "DEFAULT", "description": "DESCRIPTION"}
    return "\n".join(lines) + "\n" + _table(rows, titles)


def _first_line(text: str, type_: str) -> str:
    line = text.partition("\n")[0].removeprefix(f"{type_} ")
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"


def _document(value: Any, output: str) -> str:
    if output == "json":
        import json

        return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))


def _table(rows: list[dict[str, Any]], titles: dict[str, str]) -> str:
    widths = {key: max(len(title), *(len(str(row[key])) for row in rows)) for key, title in titles.items()}
    lines = [titles, *rows]
    return "".join("  ".join(f"{line[key]!s:{widths[key]}}" for key in titles).rstrip() + "\n" for line in lines)
