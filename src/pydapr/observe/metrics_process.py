"""Series of the process itself: `process_*` as Prometheus' client libraries have them, and Python's own.

`go_*` series of the original have no counterpart: there is no Go here. What their readers look for is the number of
tasks (`python_asyncio_tasks`, for goroutines) and the collector's work (`python_gc_*`); memory is
`process_resident_memory_bytes`. What cannot be known on a machine is left out.
"""

import asyncio
import gc
import os
import resource
import sys
from collections.abc import Iterable

from pydapr import DAPR_VERSION, __version__
from pydapr.observe.metrics import COUNTER, GAUGE, Sample

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


def samples() -> Iterable[Sample]:
    """A source for `Registry.add`."""
    yield from _use()
    yield from _limits()
    yield from _python()


def _use() -> Iterable[Sample]:
    used = os.times()
    seconds = used.user + used.system
    yield Sample(COUNTER, "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", seconds)
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        with open("/proc/stat", "rb") as file:
            booted = next(int(line.split()[1]) for line in file if line.startswith(b"btime"))
        descriptors = len(os.listdir("/proc/self/fd"))
        received, sent = _network()
    except (OSError, StopIteration):
        return
    began = booted + int(fields[19]) / _TICKS
    text = "Start time of the process since unix epoch in seconds."
    yield Sample(GAUGE, "process_start_time_seconds", text, began)
    yield Sample(GAUGE, "process_virtual_memory_bytes", "Virtual memory size in bytes.", int(fields[20]))
    yield Sample(GAUGE, "process_resident_memory_bytes", "Resident memory size in bytes.", int(fields[21]) * _PAGE)
    yield Sample(GAUGE, "process_open_fds", "Number of open file descriptors.", descriptors)
    text = "Number of bytes received by the process over the network."
    yield Sample(COUNTER, "process_network_receive_bytes_total", text, received)
    text = "Number of bytes sent by the process over the network."
    yield Sample(COUNTER, "process_network_transmit_bytes_total", text, sent)


def _network() -> tuple[int, int]:
    """Bytes in and out of the network namespace, which is all that the kernel tells of a process."""
    received = sent = 0
    with open("/proc/self/net/dev", "rb") as file:
        for line in file:
            _, colon, numbers = line.partition(b":")
            if colon:
                fields = numbers.split()
                received += int(fields[0])
                sent += int(fields[8])
    return received, sent


def _limits() -> Iterable[Sample]:
    text = "Maximum number of open file descriptors."
    yield Sample(GAUGE, "process_max_fds", text, _limit(resource.RLIMIT_NOFILE))
    text = "Maximum amount of virtual memory available in bytes."
    yield Sample(GAUGE, "process_virtual_memory_max_bytes", text, _limit(resource.RLIMIT_AS))


def _limit(which: int) -> float:
    soft = resource.getrlimit(which)[0]
    return soft if soft != resource.RLIM_INFINITY else float(2**64 - 1)


def _python() -> Iterable[Sample]:
    version = ".".join(map(str, sys.version_info[:3]))
    labels = f'implementation="{sys.implementation.name}",version="{version}"'
    yield Sample(GAUGE, "python_info", "The Python that runs this process.", {labels: 1})
    labels = f'dapr_version="{DAPR_VERSION}",version="{__version__}"'
    text = "The pydapr that runs, and the version of Dapr that it is compatible with."
    yield Sample(GAUGE, "pydapr_build_info", text, {labels: 1})
    work = {f'generation="{number}"': done for number, done in enumerate(gc.get_stats())}
    text = "Number of times that the garbage collector ran."
    yield Sample(COUNTER, "python_gc_collections_total", text, {at: done["collections"] for at, done in work.items()})
    text = "Objects that the garbage collector took away."
    yield Sample(
        COUNTER, "python_gc_objects_collected_total", text, {at: done["collected"] for at, done in work.items()}
    )
    text = "Number of tasks that currently exist."
    yield Sample(GAUGE, "python_asyncio_tasks", text, len(asyncio.all_tasks()))
