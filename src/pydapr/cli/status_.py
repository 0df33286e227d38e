"""`dapr status`: what runs of the control plane of this user."""

import sys
import time

from pydapr.cli import grammar, home, list_, plane, processes, status

FLAGS = (grammar.Flag("kubernetes", "Not available", "k", "bool"),)

EXAMPLE = """\
# Show the services that `dapr run` uses
dapr status
"""

_COLUMNS = ("NAME", "STATUS", "ADDRESS", "PID", "VERSION", "AGE")


def run(values: grammar.Values, _: list[str]) -> int:
    if values.switch("kubernetes"):
        status.failure("dapr status --kubernetes is not available. Use 'kubectl get pods --namespace dapr-system'")
        return 1
    running = plane.Plane(home.directory(values)).running()
    rows = [_COLUMNS]
    for service in plane.SERVICES:
        noted = running.get(service)
        if noted is None:
            rows.append((f"dapr-{service.name}", "Stopped", "", "", "", ""))
            continue
        began = processes.started(noted.pid)
        age = list_.age(time.time() - began) if began is not None else ""
        rows.append((f"dapr-{service.name}", "Running", noted.address, str(noted.pid or ""), noted.version, age))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    return 0
