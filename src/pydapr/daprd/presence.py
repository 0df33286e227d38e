"""The app beside the sidecar: waited for, asked what it hosts, watched; and who begins and ends with it.

Used by `daprd.runtime`, last in its start. The order, and the log lines, are the original's (v1.18.3,
`pkg/runtime/runtime.go`, `appHealthChanged`).
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from pydapr.app import health as app_health
from pydapr.app import http as app_http
from pydapr.app.channel import AppChannel, AppUnreachable, Call
from pydapr.blocks.invoke import Invoker
from pydapr.daprd import flags, jobs, triggers
from pydapr.errors import RpcError
from pydapr.net.body import Body, BodyError
from pydapr.observe import logging

if TYPE_CHECKING:
    from pydapr.daprd.actors import ActorRuntime
    from pydapr.daprd.measures import Measures

log = logging.get("dapr.runtime")

POLL_SECONDS = 0.02
CONNECT_SECONDS = 0.5
TELL_SECONDS = 10.0
"""Between two lines of the log about an app that does not listen."""

MAX_CONFIGURATION = 4 << 20
"""Bytes of what the app says of its actors."""


class Presence:
    """Whether the app is there. `app` is the way to it without anything in between, None where there is none."""

    def __init__(
        self,
        settings: flags.Settings,
        app: AppChannel | None,
        invoker: Invoker,
        kept: jobs.JobRuntime,
        actors: "ActorRuntime | None",
        measures: "Measures | None",
        is_unhealthy: asyncio.Event,
    ) -> None:
        self._settings, self._app, self._invoker = settings, app, invoker
        self._jobs, self._actors, self._measures = kept, actors, measures
        self._is_unhealthy = is_unhealthy
        self._was_found = False
        self._said = b""
        """What the app has answered of its actors."""

    async def find(self, sources: triggers.Triggers, run_beside: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        """Waits for the app if there is one, and has begin what begins with it."""
        settings, invoker = self._settings, self._invoker
        if invoker.app is None or self._app is None:
            await self._host_actors()
            return
        log.info(
            f"application protocol: {settings.app_protocol}. waiting on port {settings.app_port}.  "
            "This will block until the app is listening on that port."
        )
        await until_it_listens(settings.app_channel_address, settings.app_port)
        log.info(f"application discovered on port {settings.app_port}")
        if settings.app_max_concurrency > 0:
            log.info(f"app max concurrency set to {settings.app_max_concurrency}")
        channel, wanted = invoker.app, settings.app_health
        if wanted is None:
            await self._came(channel, sources)
            return

        async def changed(is_healthy: bool) -> None:
            await (self._came(channel, sources) if is_healthy else self._went(sources))

        probes = app_health.AppHealth(
            self._probed(self._app), wanted.path, wanted.interval, wanted.timeout, wanted.threshold, changed
        )
        invoker.app = app_health.Guarded(channel, probes)
        run_beside(probes.run())

    async def _came(self, channel: AppChannel, sources: triggers.Triggers) -> None:
        self._is_unhealthy.clear()
        if not self._was_found:
            self._was_found = True
            self._said = await self._ask(channel)
        await sources.begin()
        self._jobs.take(True)
        await self._host_actors()

    async def _went(self, sources: triggers.Triggers) -> None:
        self._is_unhealthy.set()
        self._jobs.take(False)
        await sources.pause()
        if self._actors is not None:
            await self._actors.unregister()

    async def _host_actors(self) -> None:
        if self._actors is not None:
            await self._actors.register(self._said)

    def _probed(self, app: AppChannel) -> AppChannel:
        """The channel for probes of `app`."""
        if self._measures is None or not isinstance(app, app_http.HttpChannel):
            return app
        from pydapr.app import measured

        return measured.MeasuredProbes(app.uncounted(), self._measures.http)

    async def _ask(self, channel: AppChannel) -> bytes:
        """Asks the app what it hosts; its answer, empty where there is none."""
        settings = self._settings
        if "config" in settings.disable_init_endpoints:
            log.info("Skipping programmatic dapr configuration loading")
            return b""
        said = b""
        if not channel.takes_rpc:  # which says what it hosts on a stream of its own making
            headers = ((b"content-type", b"application/json"), (b"dapr-app-id", settings.app_id.encode()))
            try:
                answer = await channel.invoke(Call(b"GET", "dapr/config", b"", headers, Body.of(b"")))
                if answer.status == 200 and self._actors is not None:
                    said = await answer.body.read_all(MAX_CONFIGURATION)
                answer.close()
            except (AppUnreachable, RpcError, BodyError) as error:
                log.warning(f"Failed to load application configuration: {error}")
                return b""
        log.info("Application configuration loaded")
        return said


async def until_it_listens(host: str, port: int) -> None:
    """Waits for an app; now and then the log says so."""
    clock = asyncio.get_running_loop().time
    tell_at = clock() + TELL_SECONDS
    while not await _listens(host, port):
        if clock() >= tell_at:
            log.info(f"waiting for application to listen on port {port}")
            tell_at = clock() + TELL_SECONDS
        await asyncio.sleep(POLL_SECONDS)


async def _listens(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:  # a TimeoutError is one
        return False
    writer.close()
    return True
