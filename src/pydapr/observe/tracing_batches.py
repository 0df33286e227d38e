"""Finished spans wait here, away from the requests, until they are exported together. What is too much is lost.

Made by `daprd.tracing`; `Batches.add` is the sink of `observe.tracing.Tracer`. Times and bounds are those of
OpenTelemetry's batch processor, its variables OTEL_BSP_* among them.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pydapr.lib import pflag
from pydapr.observe import logging

log = logging.get("dapr.runtime.trace")

TELL_SECONDS = 60.0
"""Between two lines of the log about a collector that does not take spans."""

QUEUE_FULL, TIMEOUT, FAILED, SHUTDOWN = "queue_full", "timeout", "export_failed", "shutdown"
"""Why spans are lost, as metrics have it."""


T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Failed(Exception):
    """The collector did not take what it was sent."""


class Exporter(Protocol[T_contra]):
    """Brings spans to one collector, or records of the log."""

    async def export(self, items: Sequence[T_contra], /) -> None:
        """Raises `Failed`."""
        ...

    def hurry(self) -> None:
        """The sidecar ends: what is tried now is the last try."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many spans may wait, how many travel together, how long the first may wait, how long sending may take."""

    waiting: int = 2048
    together: int = 512
    delay: float = 5.0
    timeout: float = 30.0

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Bounds":
        """With what OTEL_BSP_* say; what is no positive number does not count."""
        given = cls()
        waiting = _number(environ, "OTEL_BSP_MAX_QUEUE_SIZE", given.waiting)
        return cls(
            waiting,
            min(_number(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", given.together), waiting),
            _number(environ, "OTEL_BSP_SCHEDULE_DELAY", int(given.delay * 1000)) / 1000,
            _number(environ, "OTEL_BSP_EXPORT_TIMEOUT", int(given.timeout * 1000)) / 1000,
        )


def _number(environ: Mapping[str, str], name: str, otherwise: int) -> int:
    try:
        number = pflag.atoi(environ.get(name, ""))
    except ValueError:
        return otherwise
    return number if number > 0 else otherwise


class Batches(Generic[T]):
    """What is on its way to one exporter, until `close`; the log calls it `what`.

    `on_loss` hears how many are lost, and which of the reasons above it is.
    """

    def __init__(
        self,
        exporter: Exporter[T],
        bounds: Bounds,
        what: str = "Spans",
        on_loss: Callable[[int, str], None] | None = None,
    ) -> None:
        self._exporter = exporter
        self._bounds = bounds
        self._what = what
        self._on_loss = on_loss
        self._waiting: deque[T] = deque()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None
        self._tell_at = 0.0
        self.lost = 0
        """How many did not get to the collector."""

    def add(self, item: T) -> None:
        """Takes one."""
        waiting = self._waiting
        size = len(waiting)
        if size >= self._bounds.waiting:
            self._lose(1, QUEUE_FULL, "too many wait to be exported")
            return
        waiting.append(item)
        if size + 1 >= self._bounds.together:
            self._send()
        elif self._timer is None and self._sending is None:
            self._timer = self._loop.call_later(self._bounds.delay, self._send)

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sending is None and self._waiting:
            self._sending = self._loop.create_task(self._send_waiting())

    async def _send_waiting(self) -> None:
        """Sends what waits now, and what would be a whole batch by then."""
        waiting, together = self._waiting, self._bounds.together
        try:
            while True:
                batch = [waiting.popleft() for _ in range(min(len(waiting), together))]
                await self._export(batch)
                if len(waiting) < together:
                    break
        finally:
            self._sending = None
            if waiting and self._timer is None:
                self._timer = self._loop.call_later(self._bounds.delay, self._send)

    async def _export(self, batch: Sequence[T]) -> None:
        try:
            async with asyncio.timeout(self._bounds.timeout):
                await self._exporter.export(batch)
        except TimeoutError:
            self._lose(len(batch), TIMEOUT, f"the collector did not answer within {self._bounds.timeout:g} s")
        except Failed as error:
            self._lose(len(batch), FAILED, str(error))
        except asyncio.CancelledError:
            self._count(len(batch), SHUTDOWN)
            raise

    def _count(self, count: int, kind: str) -> None:
        self.lost += count
        if self._on_loss is not None:
            self._on_loss(count, kind)

    def _lose(self, count: int, kind: str, reason: str) -> None:
        self._count(count, kind)
        now = time.monotonic()
        if now >= self._tell_at:
            self._tell_at = now + TELL_SECONDS
            log.warning(f"{self._what} were not exported, {self.lost} so far: {reason}")

    async def close(self, seconds: float) -> None:
        """Sends what is left, within `seconds`, and lets the collector go."""
        self._exporter.hurry()
        lost = self.lost
        try:
            async with asyncio.timeout(seconds):
                while self._sending is not None or self._waiting:
                    self._send()
                    if self._sending is not None:
                        await asyncio.wait((self._sending,))
        except TimeoutError:
            if self._sending is not None:
                self._sending.cancel()
                await asyncio.wait((self._sending,))
            left = self.lost - lost + len(self._waiting)
            log.warning(f"Error flushing tracing provider: {left} {self._what.lower()} were left")
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._waiting:
                self._count(len(self._waiting), SHUTDOWN)
                self._waiting.clear()
            self._exporter.close()
