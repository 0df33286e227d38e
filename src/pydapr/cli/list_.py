"""`dapr list`: the sidecars that run on this machine, as a table, JSON or YAML."""

import sys
import time
from collections.abc import Mapping

from pydapr.cli import grammar, sidecars, status

FLAGS = (
    grammar.Flag("all-namespaces", "If true, list all Dapr pods in all namespaces", short="A", kind="bool"),
    grammar.Flag("kubernetes", "List all Dapr pods in a Kubernetes cluster", short="k", kind="bool"),
    grammar.Flag("namespace", "List define namespace pod in a Kubernetes cluster"),
    grammar.Flag(
        "output",
        "The output format of the list. Valid values are: json, yaml, or table (default)",
        short="o",
    ),
)

EXAMPLE = """\
# List the Dapr instances of this machine
dapr list

# For programs
dapr list --output json
"""

_COLUMNS = {
    "appId": "APP ID",
    "httpPort": "HTTP PORT",
    "grpcPort": "GRPC PORT",
    "appPort": "APP PORT",
    "command": "COMMAND",
    "age": "AGE",
    "created": "CREATED",
    "daprdPid": "DAPRD PID",
    "cliPid": "CLI PID",
    "appPid": "APP PID",
    "runTemplatePath": "RUN TEMPLATE PATH",
    "appLogPath": "APP LOG PATH",
    "daprdLogPath": "DAPRD LOG PATH",
    "runTemplateName": "RUNTEMPLATENAME",
}

Row = dict[str, str | int | bool]


def run(values: grammar.Values, _: list[str]) -> int:
    output = values.text("output")
    if output not in ("", "json", "yaml", "table"):
        status.failure("An invalid output format was specified.")
        return 1
    if values.switch("kubernetes"):
        status.failure(
            "dapr list --kubernetes is not available. To list Dapr pods, use "
            "'kubectl get pods --all-namespaces --selector dapr.io/app-id'"
        )
        return 1
    now = time.time()
    rows = [row(described, now) for described in sidecars.describe(sidecars.find())]
    sys.stdout.write(_render(rows, output))
    return 0


def row(described: sidecars.Described, now: float) -> Row:
    """One sidecar under the names that JSON and YAML show."""
    sidecar, extended = described.sidecar, described.extended
    return {
        "appId": sidecar.app_id,
        "httpPort": sidecar.http_port,
        "grpcPort": sidecar.grpc_port,
        "appPort": sidecar.app_port,
        "metricsEnabled": sidecar.metrics_enabled,
        "command": shorten(described.command, 20),
        "age": age(now - sidecar.started),
        "created": time.strftime("%Y-%m-%d %H:%M.%S", time.localtime(sidecar.started)),
        "daprdPid": sidecar.pid,
        "cliPid": described.cli_pid,
        "appPid": described.app_pid,
        "maxRequestBodySize": sidecar.max_body_size,
        "httpReadBufferSize": sidecar.read_buffer_size,
        "runTemplatePath": extended.get("runTemplatePath", ""),
        "appLogPath": extended.get("appLogPath", ""),
        "daprdLogPath": extended.get("daprdLogPath", ""),
        "runTemplateName": extended.get("runTemplateName", ""),
    }


def shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def age(seconds: float) -> str:
    """The largest whole unit: `59s`, `3m`, `7h`, `2d`."""
    if seconds <= 60:
        return f"{int(max(seconds, 0))}s"
    if seconds <= 3600:
        return f"{int(seconds / 60)}m"
    if seconds <= 86400:
        return f"{int(seconds / 3600)}h"
    return f"{int(seconds / 86400)}d"


def _render(rows: list[Row], output: str) -> str:
    if output == "json":
        import json

        return json.dumps(rows, indent=2, ensure_ascii=False)
    if output == "yaml":
        import yaml

        text = str(yaml.safe_dump(rows, sort_keys=False, allow_unicode=True))
        return text.replace(": ''\n", ': ""\n')
    return table(rows) if rows else "No Dapr instances found.\n"


def table(rows: list[Row], titles: Mapping[str, str] = _COLUMNS) -> str:
    """Columns that are empty in every row are left out."""
    columns: list[list[str]] = []
    for key, title in titles.items():
        cells = [" ".join(str(row[key]).split()) for row in rows]
        if any(cells):
            width = max(map(len, [title, *cells]))
            columns.append([f"{cell:{width}}  " for cell in [title, *cells]])
    return "".join("".join(cells) + "\n" for cells in zip(*columns, strict=True))
