"""The process' metrics to a collector by OTLP, from time to time. Opened by `daprd.exports`; goes on to `observe.otlp`.

What goes out is what the metrics port shows: the same names, labels and numbers, read from the same text. Counters and
histograms are cumulative, from the start of the process on.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Mapping
from struct import pack

from pydapr.observe import logging, otlp
from pydapr.wire import invocation

METHOD = b"/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
PATH = "/v1/metrics"
SCOPE = "pydapr"
TELL_SECONDS = 60.0

log = logging.get("dapr.metrics")

_field = invocation.field
_pair = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_escape = re.compile(r"\\(.)")
_CUMULATIVE = b"\x10\x02"


class Exporter:
    """Sends what `pieces` tell, every `interval` seconds. `seconds` is for one try."""

    def __init__(
        self,
        pieces: Callable[[], Iterable[str]],
        sender: otlp.Sender,
        resource: Mapping[str, str],
        interval: float,
        seconds: float,
    ) -> None:
        self._pieces = pieces
        self._sender = sender
        self._resource = _field(b"\x0a", otlp.resource(resource))
        self._scope = _field(b"\x0a", otlp.text(b"\x0a", SCOPE))
        self._interval, self._seconds = interval, seconds
        self._began = time.time_ns()
        self._tell_at = 0.0
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self._send()
            except Exception as fault:  # of ours, or of an answer that nobody expects: the next message may get there
                log.error(f"Unexpected error while exporting metrics: {fault!r}")

    async def _send(self) -> None:
        text = []
        for piece in self._pieces():
            text.append(piece)
            await asyncio.sleep(0)
        metrics = []
        for block in blocks("".join(text)):
            metrics.append(encode(block, self._began, time.time_ns()))
            await asyncio.sleep(0)
        scoped = _field(b"\x12", self._scope + b"".join(metrics))
        try:
            await otlp.deliver(self._sender, _field(b"\x0a", self._resource + scoped), self._seconds)
        except otlp.Refused as error:
            now = time.monotonic()
            if now >= self._tell_at:
                self._tell_at = now + TELL_SECONDS
                log.warning(f"Metrics were not exported: {error}")

    async def close(self, seconds: float) -> None:
        """Sends a last time, within `seconds`."""
        self._sender.ending.set()
        self._task.cancel()
        await asyncio.wait((self._task,))
        try:
            async with asyncio.timeout(seconds):
                await self._send()
        except TimeoutError:
            log.warning(f"Metrics were not exported: the collector did not answer within {seconds:.1f} s")
        finally:
            self._sender.close()


def blocks(text: str) -> list[str]:
    """The lines of each metric in Prometheus' text, without the words `# HELP ` of the first.

    Only a line's beginning tells where one starts: values of labels may hold these words, too.
    """
    return ("\n" + text).split("\n# HELP ")[1:]


def encode(block: str, began: int, now: int) -> bytes:
    """A `Metric` from one of the `blocks`. Nothing but a line feed ends a line: the rest may be in a label's value."""
    head, kind, *lines = block.rstrip("\n").split("\n")
    name, _, description = head.partition(" ")
    samples = [_sample(line) for line in lines]
    times = b"\x11" + pack("<Q", began) + b"\x19" + pack("<Q", now)
    described = otlp.text(b"\x0a", name) + otlp.text(b"\x12", description)
    if kind.endswith(" histogram"):
        points = _histogram(name, samples, times)
        return _field(b"\x12", described + _field(b"\x4a", points + _CUMULATIVE))
    points = b"".join(
        [
            _field(b"\x0a", times + b"\x21" + pack("<d", value) + _attributes(b"\x3a", labels))
            for _, labels, value in samples
        ]
    )
    if kind.endswith(" counter"):
        return _field(b"\x12", described + _field(b"\x3a", points + _CUMULATIVE + b"\x18\x01"))
    return _field(b"\x12", described + _field(b"\x2a", points))


def _sample(line: str) -> tuple[str, dict[str, str], float]:
    """Name, labels and value of a line."""
    before, _, value = line.rpartition(" ")
    name, _, labels = before.partition("{")
    return name, {key: _escape.sub(_plain, text) for key, text in _pair.findall(labels)}, float(value)


def _plain(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]


def _attributes(tag: bytes, labels: Mapping[str, str]) -> bytes:
    return b"".join([otlp.attribute(tag, key, value) for key, value in labels.items()])


def _histogram(name: str, samples: Iterable[tuple[str, dict[str, str], float]], times: bytes) -> bytes:
    """The points of a histogram: its buckets hold what is within them, where Prometheus' hold what is below too."""
    out, bounds, counts, below, total = [], list[float](), list[int](), 0, 0.0
    for sample, labels, value in samples:
        if sample == f"{name}_bucket":
            bound = labels["le"]
            counts.append(int(value) - below)
            below = int(value)
            if bound != "+Inf":
                bounds.append(float(bound))
        elif sample == f"{name}_sum":
            total = value
        else:
            point = b"".join(
                (
                    times, b"\x21", pack("<Q", int(value)), b"\x29", pack("<d", total),
                    _field(b"\x32", pack(f"<{len(counts)}Q", *counts)),
                    _field(b"\x3a", pack(f"<{len(bounds)}d", *bounds)), _attributes(b"\x4a", labels),
                )
            )  # fmt: skip
            out.append(_field(b"\x0a", point))
            bounds, counts, below = [], [], 0
    return b"".join(out)
