"""Metrics of the process in Prometheus text, for the metrics port. Called by `daprd.runtime`."""

import os
import time

from pydapr.net.exchange import Exchange

_TEXT = ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),)
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")

_started = time.time()


async def serve(exchange: Exchange) -> None:
    """Answers any path with all series, as the original's exporter does."""
    exchange.respond(200, _TEXT, render().encode())


def render() -> str:
    """All series in the text format."""
    lines = []
    for name, kind, text, value in _process():
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name} {value:.17g}"]
    return "\n".join(lines) + "\n"


def _process() -> list[tuple[str, str, str, float]]:
    """The series that Prometheus' client libraries have for a process; what cannot be known is left out."""
    used = os.times()
    out = [
        (
            "process_cpu_seconds_total",
            "counter",
            "Total user and system CPU time spent in seconds.",
            used.user + used.system,
        ),
        (
            "process_start_time_seconds",
            "gauge",
            "Start time of the process since unix epoch in seconds.",
            _started,
        ),
    ]
    try:
        with open("/proc/self/statm", "rb") as file:
            virtual, resident = file.read().split()[:2]
        descriptors = len(os.listdir("/proc/self/fd"))
    except OSError:
        return out
    out += [
        ("process_open_fds", "gauge", "Number of open file descriptors.", descriptors),
        ("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", int(resident) * _PAGE),
        ("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", int(virtual) * _PAGE),
    ]
    return out
