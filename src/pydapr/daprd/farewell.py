"""What collectors are sent when the sidecar ends: spans, metrics and lines of the log, all at the same time.

Made by `daprd.runtime`; `daprd.tracing` and `daprd.exports` add who has something to send. A collector that hangs costs
the others nothing, and not the sidecar its orderly end: they all have what is left of the time for that, less a little.
"""

import asyncio
from collections.abc import Awaitable, Callable

from pydapr.observe import logging

log = logging.get("dapr.runtime")

SECONDS = 5.0
"""How long it may take, when the end itself may take longer."""

SPARED = 0.5
"""Seconds that remain for the end of the process."""

LEAST = 0.1

Send = Callable[[float], Awaitable[None]]
"""Sends a last time, within so many seconds, and lets the collector go."""


class Farewell:
    """Says it once, by `say`."""

    def __init__(self) -> None:
        self._all: list[Send] = []
        self._until: float | None = None

    def add(self, send: Send) -> None:
        """`send` is called at the end."""
        self._all.append(send)

    def end_within(self, seconds: float) -> None:
        """The end begins, and may take `seconds`; 0 for any time."""
        self._until = asyncio.get_running_loop().time() + seconds if seconds > 0 else None

    async def say(self) -> None:
        """Has all send, and waits for them."""
        seconds = SECONDS
        if self._until is not None:
            left = self._until - asyncio.get_running_loop().time() - SPARED
            seconds = max(min(seconds, left), LEAST)
        async with asyncio.TaskGroup() as group:
            for send in self._all:
                group.create_task(_run(send, seconds))


async def _run(send: Send, seconds: float) -> None:
    try:
        await send(seconds)
    except Exception as fault:  # of ours; what else is to be done at the end goes on
        log.error(f"Unexpected error while sending the last of it to a collector: {fault!r}")
