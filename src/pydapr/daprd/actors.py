"""The actors of a sidecar: put together here, begun when the app has said what it hosts, ended before the sidecar is.

Called by `daprd.runtime`, which imports this only when there is a placement service. The order of the start and its log
lines are the original's (v1.18.3, `pkg/actors/actors.go`).
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydapr.api.internal_actors import ActorsApi
from pydapr.app.actors import HttpActors
from pydapr.app.channel import AppChannel
from pydapr.blocks.actors import TypeOptions, config
from pydapr.blocks.actors.call import Actors
from pydapr.blocks.actors.hosting import Here
from pydapr.blocks.actors.placed import Placed
from pydapr.blocks.actors.reminders import Reminders
from pydapr.blocks.actors.state import ActorState
from pydapr.blocks.actors.streams import Streams
from pydapr.blocks.actors.timers import Timers
from pydapr.daprd import flags
from pydapr.lib.actors import Host
from pydapr.net import dial, http2_pool
from pydapr.observe import logging
from pydapr.peers import placement
from pydapr.peers.actors import ActorSidecars
from pydapr.peers.sidecar import Sidecars

if TYPE_CHECKING:
    from pydapr.blocks.health import Health
    from pydapr.blocks.state import Store
    from pydapr.daprd.identity import Identity
    from pydapr.daprd.measures import Measures
    from pydapr.peers.scheduler import Scheduler
    from pydapr.policy.resiliency import Resiliency

log = logging.get("dapr.runtime.actor")
runtime_log = logging.get("dapr.runtime")

TARGET = "internal-placement-service"
"""What the sidecar is not ready without, until placement has spoken for the first time."""

CONNECTED, DISCONNECTED = "placement: connected", "placement: disconnected"
HEADROOM = 1 << 16
"""What a message between sidecars has besides a body, at most."""

LARGEST = 1 << 31

END_SECONDS, LEFT_SECONDS = 4.5, 0.5
"""How long it may take to let the actors go when the sidecar ends, and how much of that is left when placement is slow:
less than the five seconds that a sidecar has for its end unless it is told otherwise."""


class ActorRuntime:
    """The parts, for the faces and for each other. `scheduler` is None where there is none."""

    def __init__(
        self,
        settings: flags.Settings,
        host: str,
        port: int,
        sidecars: Sidecars,
        channel: Callable[[], AppChannel | None],
        store: "Store | None",
        with_ttl: bool,
        policies: "Resiliency | None",
        measures: "Measures | None",
        scheduler: "Scheduler | None",
    ) -> None:
        self._settings = settings
        self._scheduler = scheduler
        metrics = measures.actors if measures is not None else None
        address = f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
        self._me = placement.Me(address, settings.app_id, settings.identity_namespace)
        most = settings.max_body_size + HEADROOM if settings.max_body_size > 0 else LARGEST
        self.here = Here()
        self.here.metrics = metrics
        self.placed = Placed(Host(address, settings.app_id), self.here)
        remote = ActorSidecars(sidecars, settings.identity_namespace, most)
        remote.metrics = measures.grpc if measures is not None else None
        self.calls = Actors(
            self.placed, self.here, remote, settings.app_id, settings.identity_namespace, policies
        )  # fmt: skip
        self.state = ActorState(settings.app_id, self.calls, self.here, lambda: store, policies, with_ttl)
        self.timers = Timers(self.calls, self.here.hosts, metrics)
        self.reminders = Reminders(self.calls, self.here.hosts, scheduler, metrics)
        if scheduler is not None:
            scheduler.on_reminder = self.reminders.deliver
        self.internal = ActorsApi(self.calls, most)
        self.streams = Streams(self.here, self._told, policies)
        self.target = HttpActors(channel, policies)
        self._has_store = store is not None
        self._types: Sequence[str] = ()
        """Those of the app's configuration."""
        self._is_registered = asyncio.Event()
        self._client: placement.Client | None = None
        if store is None:
            log.info(
                "Actor state store not configured - actor hosting disabled until one is configured, but invocation "
                "enabled"
            )
            self.here.is_suspended = True

    def begin(self, identity: "Identity | None", health: "Health", stack: contextlib.AsyncExitStack) -> None:
        """Reports to placement from now on, or, where actors can live here, as soon as the app has said which."""
        health.not_ready(TARGET)
        client = self._client = placement.Client(
            self._settings.placement_addresses,
            _connector(identity),
            identity is not None,
            self._me,
            self.placed,
            self.here.types,
            self._settings.actors_disseminate_seconds,
        )
        client.on_ready = lambda: health.ready(TARGET)
        client.on_round = self._settled
        self.here.on_types = client.report
        log.info("Actor runtime started")
        task = asyncio.create_task(self._follow(client))
        stack.push_async_callback(self._end, task)

    async def _follow(self, client: placement.Client) -> None:
        if self._has_store:
            await self._is_registered.wait()
        await client.run()

    def _settled(self) -> None:
        """A round has ended: others know by now what is here."""
        if self._scheduler is not None:
            self._scheduler.take_reminders(self.here.types())

    async def register(self, said: bytes) -> None:
        """The app is there, and hosts what it has said of itself."""
        try:
            given = config.read(said) if said else config.AppConfig()
            types = config.options(given, self._settings.actors_disseminate_seconds)
        except config.Wrong as error:
            runtime_log.warning(f"Failed to register hosted actors: {error}")
            types = {}
        if types:
            log.info(f"Registering hosted actors: [{' '.join(types)}]")
            self._types = tuple(types)
            self.here.register(types, self.target)
        self._told()

    def on_stream(self, given: config.AppConfig) -> Mapping[str, TypeOptions]:
        """How the types of an app are hosted that says on a stream of its own which it has. Raises `config.Wrong`."""
        types = config.options(given, self._settings.actors_disseminate_seconds)
        if types:
            log.info(f"Registering hosted actors: [{' '.join(types)}]")
        return types

    @property
    def takes_streams(self) -> bool:
        """Whether an app may do so: one that speaks HTTP says otherwise what it hosts."""
        return not self._settings.app_port or self._settings.app_protocol in ("grpc", "grpcs")

    def _told(self) -> None:
        """It is known what the app hosts."""
        self._is_registered.set()
        self.calls.open()

    async def unregister(self) -> None:
        """The app is not healthy any more: its actors go to others."""
        types, self._types = self._types, ()
        if types:
            await self.here.unregister(types)

    def status(self) -> Mapping[str, Any]:
        """As the metadata API shows it."""
        if not self._is_registered.is_set():
            return {"runtimeStatus": "INITIALIZING", "hostReady": False, "placement": ""}
        is_ready = self.placed.is_ready
        shown: dict[str, Any] = {"runtimeStatus": "RUNNING"}
        if counts := self.here.counts():
            shown["activeActors"] = [
                {"type": name, "count": count} if count else {"type": name} for name, count in counts.items()
            ]
        shown["hostReady"] = is_ready
        shown["placement"] = CONNECTED if is_ready else DISCONNECTED
        return shown

    async def _end(self, task: "asyncio.Task[None]") -> None:
        """Lets the actors go; those who wait for one are told."""
        log.info("Actor runtime shutting down")
        if self._scheduler is not None:
            self._scheduler.take_reminders(())
        await self.timers.close()
        clock = asyncio.get_running_loop().time
        deadline = clock() + END_SECONDS
        task.cancel()
        await asyncio.wait((task,), timeout=END_SECONDS - LEFT_SECONDS)
        if task.done() and not task.cancelled() and (fault := task.exception()) is not None:
            log.error(f"Unexpected end of the placement client: {fault!r}")
        self.calls.end()
        self.placed.close()  # the client has done so, unless it had not begun
        await self.here.end(max(deadline - clock(), LEFT_SECONDS))
        await asyncio.wait((task,), timeout=LEFT_SECONDS)
        self.streams.end()
        log.info("Actor runtime stopped")


def _connector(identity: "Identity | None") -> http2_pool.Connector:
    return dial.address if identity is None else identity.way_to("dapr-placement")
