"""Probes of the app's health (`--enable-app-health-check`), and what follows from them.

Started by `daprd.runtime`; `Guarded` stands before the app channel and refuses calls while the app is not
healthy. The app counts as unhealthy until its first good probe (v1.18.3, `pkg/apphealth`).
"""

import asyncio
from collections.abc import Awaitable, Callable

from pydapr.app.channel import Answer, AppChannel, Call
from pydapr.errors import Code, RpcError
from pydapr.net import tasks
from pydapr.observe import logging

log = logging.get("dapr.apphealth")


class AppHealth:
    """Probes `channel` at `path` every `interval` seconds, each probe lasting `timeout` at most.

    `threshold` failures in a row make the app unhealthy, one success healthy. `on_change` hears of both.
    """

    def __init__(
        self,
        channel: AppChannel,
        path: str,
        interval: float,
        timeout: float,
        threshold: int,
        on_change: Callable[[bool], Awaitable[None]],
    ) -> None:
        self._channel = channel
        self._path = path.removeprefix("/")
        self._interval = interval
        self._timeout = timeout
        self._threshold = threshold
        self._on_change = on_change
        self._failures = threshold
        self._has_changed = asyncio.Event()

    @property
    def is_healthy(self) -> bool:
        return self._failures < self._threshold

    async def run(self) -> None:
        """Probes until it is cancelled."""
        log.info("App health probes starting")
        telling = asyncio.create_task(self._tell())
        try:
            while True:
                self._record(await self._probe())
                if telling.done():
                    telling.result()
                await asyncio.sleep(self._interval)
        finally:
            log.info("App health probes stopping")
            await tasks.stop((telling,))

    async def _tell(self) -> None:
        """Tells of changes, one after the other. What follows from one may take long, and probes go on meanwhile."""
        told = False
        while True:
            await self._has_changed.wait()
            self._has_changed.clear()
            while told != self.is_healthy:
                told = not told
                await self._on_change(told)

    async def _probe(self) -> str:
        """The reason why the app is not healthy; empty when it is."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._channel.probe(self._path)
        except TimeoutError:
            return "Network error: context deadline exceeded"

    def _record(self, reason: str) -> None:
        if not reason:
            was_healthy, self._failures = self.is_healthy, 0
            if not was_healthy:
                log.info("App entered healthy status")
                self._has_changed.set()
            return
        self._failures += 1
        if self._failures == self._threshold:
            log.warning(f"App entered un-healthy status: {reason}")
            self._has_changed.set()


class Guarded(AppChannel):
    """A channel that is open while the app is healthy."""

    def __init__(self, inner: AppChannel, health: AppHealth) -> None:
        self.inner = inner
        self._health = health
        self.takes_rpc = inner.takes_rpc

    async def invoke(self, call: Call) -> Answer:
        if not self._health.is_healthy:
            raise RpcError(Code.INTERNAL, "app is not in a healthy state")
        return await self.inner.invoke(call)

    def close(self) -> None:
        self.inner.close()

    def retire(self) -> None:
        self.inner.retire()
