"""A running scheduler: from its settings to the servers, and back in reverse order.

Called by `start`. First the store, then the agreement with other schedulers, then the engine; calls that come before
wait. At the end streams are ended first, so that sidecars go to others, then results that have come are written.
"""

import asyncio
import contextlib
import datetime
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydapr.controlplane.beside import Beside
from pydapr.controlplane.process import Fatal
from pydapr.net import grpc_server, hostaddress, server
from pydapr.observe import logging
from pydapr.scheduler import authorize, engine, flags, metrics, service, storage, watching
from pydapr.scheduler.store import StoreError

if TYPE_CHECKING:
    from pydapr.controlplane.identity import Identity

log = logging.get("dapr.scheduler")
server_log = logging.get("dapr.scheduler.server")
cron_log = logging.get("dapr.scheduler.server.cron")
security_log = logging.get("dapr.runtime.security")

NAME = "dapr-scheduler"
SERVER = "scheduler-server"
"""The part of the health check, as the original names it."""

SAMPLES = 840
"""Partitions by which it is seen whether others are ours than before: divisible by any number of schedulers up to 8."""

_LOCAL = ("localhost", "127.0.0.1", "[::1]", "::1")


class Scheduler:
    """One scheduler, from its start to its end."""

    def __init__(self, settings: flags.Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        self._counts = metrics.Counts()
        self._ready = asyncio.Event()
        self._engine: engine.Engine | None = None
        self._watching: watching.Watching | None = None
        self._own = ""
        """The address by which sidecars reach us."""
        self._owned: tuple[bool, ...] = ()

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set. Raises `Fatal`."""
        async with contextlib.AsyncExitStack() as stack:
            stopping = asyncio.create_task(stop.wait())
            starting = asyncio.create_task(self._start(stack))
            await asyncio.wait((stopping, starting), return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.wait((starting,))
                if starting.cancelled():
                    return
            stopping.cancel()
            await starting.result().until(stop)

    async def _start(self, stack: contextlib.AsyncExitStack) -> Beside:
        settings = self._settings
        server_log.info("Dapr Scheduler is starting...")
        beside = Beside(stack, log)
        self._name_parts(beside)
        await beside.serve_health(settings.healthz_listen_address, settings.healthz_port)
        await beside.serve_metrics(self._counts.registry, settings.listen_address, settings.metrics_port)
        identity = await self._open_identity(beside)
        self._own = self._host()
        kept = storage.Storage(settings, self._own)
        await kept.open(beside, stack)
        self._counts.registry.add(kept.samples)
        stack.push_async_callback(kept.membership.leave)  # when nothing of ours is under way any more
        self._engine = engine.Engine(kept.store, kept.membership.owns, self._counts)
        stack.push_async_callback(self._engine.close)
        await self._serve(beside, stack, kept, self._engine, identity)
        beside.run(self._begin(beside, stack, kept, self._engine))
        return beside

    def _name_parts(self, beside: Beside) -> None:
        """Tells the health check what to wait for."""
        for part in ("healthz-server", SERVER):
            beside.health.add(part)
        if self._settings.metrics_port:
            beside.health.add("metrics-server")
        if self._settings.with_tls:
            beside.health.add("security-provider")

    def _host(self) -> str:
        """The address by which sidecars reach us. Raises `Fatal`."""
        settings = self._settings
        if settings.broadcast is not None:
            return settings.broadcast
        host = settings.listen_address
        if host not in _LOCAL:
            try:
                host = hostaddress.host_address(self._environ)
            except OSError as error:
                raise Fatal(f"failed to get host address: {error}") from None
        return f"[{host}]:{settings.port}" if ":" in host and host[0] != "[" else f"{host}:{settings.port}"

    async def _open_identity(self, beside: Beside) -> "Identity | None":
        settings = self._settings
        if not settings.with_tls:
            security_log.warning("mTLS is disabled. Skipping certificate request and tls validation")
            return None
        from pydapr.controlplane.identity import Identity, Wanted
        from pydapr.scheduler.identity_files import IdentityFolder

        wanted = Wanted(
            NAME,
            settings.namespace,
            settings.trust_domain,
            settings.trust_anchors_file,
            settings.sentry_address,
            settings.mode,
        )
        identity = Identity(wanted, self._environ)
        await identity.open()
        folder, source = IdentityFolder(settings.identity_folder), identity.source
        folder.write(source.identity, source.anchors)
        source.on_change.append(lambda: folder.write(source.identity, source.anchors))
        beside.health.ready("security-provider")
        beside.run(identity.renew())
        beside.run(identity.watch())
        return identity

    # -- what is served --

    async def _serve(
        self,
        beside: Beside,
        stack: contextlib.AsyncExitStack,
        kept: storage.Storage,
        triggers: engine.Engine,
        identity: "Identity | None",
    ) -> None:
        settings = self._settings
        authorizer = authorize.Authorizer(identity is not None, self._counts.not_authorized)
        jobs = service.Service(kept.store, authorizer, self._counts, self._ready)
        streams = self._watching = watching.Watching(
            triggers.pool, authorizer, self._counts, self._ready, kept.membership.hosts
        )
        options = server.Options(with_http1=False) if identity is None else identity.options()
        methods = grpc_server.Methods({**jobs.methods(), **streams.methods()})
        server_log.info(f"Dapr Scheduler listening on: {settings.listen_address}:{settings.port}")
        await beside.listen(methods, settings.listen_address, settings.port, options, SERVER)
        stack.callback(server_log.info, "Scheduler GRPC server stopped")
        stack.callback(streams.close)
        server_log.info(f"Running gRPC server on port {settings.port}")

    async def _begin(
        self, beside: Beside, stack: contextlib.AsyncExitStack, kept: storage.Storage, triggers: engine.Engine
    ) -> None:
        """Joins the other schedulers and triggers jobs, as soon as they agree."""
        cron_log.info("Starting Cron")
        membership = kept.membership
        membership.on_change = self._members_changed
        try:
            await membership.join()
            self._owned = self._owns(kept)
            membership.settle = triggers.settle
            _tell_workers(self._settings)
            await triggers.open()
        except StoreError as error:
            raise Fatal(f"Fatal error running scheduler: {error}") from None
        self._kept = kept
        beside.run(triggers.run())
        self._ready.set()
        cron_log.info("Cron is ready")
        self._members_changed()

    def _owns(self, kept: storage.Storage) -> tuple[bool, ...]:
        return tuple(map(kept.membership.owns, range(SAMPLES)))

    def _members_changed(self) -> None:
        """Sidecars are told, and the engine if other jobs are ours than before."""
        if not self._ready.is_set() or self._engine is None or self._watching is None:
            self._owned = ()  # whatever was known of it
            return
        hosts, own = list(self._kept.membership.hosts()), self._own
        self._engine.pool.gates.set_share(len(hosts), hosts.index(own) if own in hosts else 0)
        self._watching.hosts_changed()
        owned = self._owns(self._kept)
        if owned != self._owned:
            self._owned = owned
            self._engine.reconsider(is_lost=not any(owned))


def _tell_workers(settings: flags.Settings) -> None:
    """A line as the original's library writes it on stderr, where some look for it."""
    line = {
        "level": "info",
        "ts": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "logger": "diagrid-cron.queue",
        "caller": "scheduler/runtime.py",
        "msg": "Starting queue with workers",
        "id": settings.id,
        "count": settings.workers,
    }
    sys.stderr.write(json.dumps(line, separators=(",", ":")) + "\n")
    sys.stderr.flush()
