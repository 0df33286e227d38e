"""What a process of the control plane runs beside its own work: servers, tasks, health, metrics, and their end.

Made by the `runtime` or `serving` modules of placement, scheduler and sentry. Everything stops in reverse order with
the stack that it is given; `failed` has the reason when something cannot go on.
"""

import asyncio
import contextlib
import os
from collections.abc import Coroutine

from pydapr.controlplane.health import Health
from pydapr.controlplane.process import Fatal
from pydapr.net import server
from pydapr.net.exchange import Handler
from pydapr.observe import logging, metrics_page
from pydapr.observe.metrics import Registry

STOP_SECONDS = 5.0
"""How long calls under way have to finish."""

IDLE_VARIABLE = "PYDAPR_IDLE_SECONDS"
IDLE_LOOKS = 10
"""How often within that time it is looked whether anybody is connected."""


class Beside:
    """The servers and tasks of one process."""

    def __init__(self, stack: contextlib.AsyncExitStack, log: logging.Logger) -> None:
        self._stack = stack
        self._log = log
        self._servers: list[server.Server] = []
        self.health = Health()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def run(self, work: Coroutine[object, object, None]) -> None:
        """Runs `work` until the process stops; the process stops when it fails."""
        task = asyncio.create_task(work)

        def ended(done: asyncio.Task[None]) -> None:
            if done.cancelled() or self.failed.done():
                return
            error = done.exception()
            if error is not None:
                self.fail(error)

        async def end() -> None:
            task.cancel()
            await asyncio.wait((task,))

        task.add_done_callback(ended)
        self._stack.push_async_callback(end)

    def fail(self, error: BaseException) -> None:
        """Has the process stop because of `error`, unless it stops already."""
        if not self.failed.done():
            self.failed.set_exception(error)
            self.failed.exception()  # whether anybody asks or not: it may end for another reason at this moment

    async def until(self, stop: asyncio.Event) -> None:
        """Waits for the end. Raises why it came, unless `stop` was set, or nobody has been connected for as long as
        whoever started the process allows (`cli.plane`)."""
        seconds = float(os.environ.get(IDLE_VARIABLE) or 0)
        idling = asyncio.create_task(self._until_idle(seconds, stop)) if seconds else None
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((stopping, self.failed), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if idling is not None:
            idling.cancel()
        if self.failed.done():
            self.failed.result()

    async def _until_idle(self, seconds: float, stop: asyncio.Event) -> None:
        """Has the process stop when nobody has been connected for so long."""
        looks = 0
        while looks < IDLE_LOOKS:
            await asyncio.sleep(seconds / IDLE_LOOKS)
            looks = 0 if any(one.connected for one in self._servers) else looks + 1
        self._log.info(f"Nobody has been connected for {seconds:g} seconds: ending")
        stop.set()

    async def listen(
        self, handler: Handler, host: str, port: int, options: server.Options | None = None, part: str = ""
    ) -> server.Server:
        """Serves `handler`; `part` is ready from then on. Raises `Fatal`.

        Of the files that the process may have, connections to one port take half: most have one port for clients.
        """
        one = server.Server(handler, (options or server.Options()).replace(files=2))
        try:
            await one.listen(host, port)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise Fatal(f"could not listen on port {port}: listen tcp {host}:{port}: bind: {reason}") from None
        self._servers.append(one)
        self._stack.push_async_callback(one.stop, STOP_SECONDS)
        self.health.ready(part)
        return one

    async def serve_health(self, host: str, port: int) -> None:
        """Answers health checks from now on. Raises `Fatal`."""
        await self.listen(self.health.serve, host, port, part="healthz-server")
        self._log.info(f"Healthz server is listening on {host or '[::]'}:{port}")

    async def serve_metrics(self, registry: Registry, host: str, port: int) -> None:
        """Shows the metrics; `port` 0 is for none. Raises `Fatal`."""
        if port:
            await self.listen(metrics_page.page(registry), host, port, part="metrics-server")
            self._log.info(f"metrics server started on {host}:{port}/")
