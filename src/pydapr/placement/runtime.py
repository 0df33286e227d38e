"""A running placement: identity, leadership, the servers, and the end of it all.

Called by `start`. Nothing is kept: what a leader knows it has from the sidecars that are connected to it.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydapr.controlplane.beside import Beside
from pydapr.controlplane.process import Fatal
from pydapr.net import server
from pydapr.observe import logging
from pydapr.placement import cluster, flags, metrics, service
from pydapr.placement.namespaces import Namespaces

if TYPE_CHECKING:
    from pydapr.controlplane.identity import Identity

log = logging.get("dapr.placement")
server_log = logging.get("dapr.placement.server")
security_log = logging.get("dapr.runtime.security")

MOST_SIDECARS = 100_000
"""Connections at a time."""


class Placement:
    """One member, from its flags to its end."""

    def __init__(self, settings: flags.Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ

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
        try:
            address = settings.own_address
        except flags.Invalid as error:
            raise Fatal(str(error)) from None
        beside = Beside(stack, log)
        for part in ("healthz-server", "placement-grpc-server", "placement-raft-leadership", "security-provider"):
            beside.health.add(part)
        if settings.metrics_port:
            beside.health.add("metrics-server")
        await beside.serve_health(settings.healthz_listen_address, settings.healthz_port)
        identity = await self._identity(beside)
        beside.health.ready("security-provider")
        server_log.info("Placement service is starting...")
        members = cluster.Cluster(settings.id, settings.members, identity, lambda leads: changed(leads))
        namespaces = Namespaces(
            members.holds, settings.disseminate_timeout, settings.coalesce_window, settings.replication_factor
        )
        answering = service.Service(settings.id, namespaces, members, identity is not None)
        counts = metrics.Metrics(namespaces.counts)

        def changed(leads: bool) -> None:
            counts.leads(leads)
            if leads:
                server_log.info(f"Node id={settings.id} has acquired leadership")
            else:
                server_log.info(f"Node id={settings.id} has lost leadership")
                answering.step_down()

        if settings.metadata_enabled:
            beside.health.pages[b"/placement/state"] = answering.state
        await beside.serve_metrics(counts.registry, settings.metrics_listen_address, settings.metrics_port)
        await self._serve_members(beside, members, identity, address)
        stack.callback(server_log.info, "Placement GRPC server stopped")
        await self._serve_sidecars(beside, answering, identity)
        stack.push_async_callback(members.close)
        stack.callback(answering.stop)
        beside.run(members.run())
        return beside

    async def _identity(self, beside: Beside) -> "Identity | None":
        """Who this process is with mTLS. Raises `Fatal`."""
        settings = self._settings
        if not settings.tls_enabled:
            security_log.warning("mTLS is disabled. Skipping certificate request and tls validation")
            return None
        from pydapr.controlplane import identity

        wanted = identity.Wanted(
            "dapr-placement",
            settings.namespace,
            settings.trust_domain,
            settings.trust_anchors_file,
            settings.sentry_address,
            settings.mode,
        )
        made = identity.Identity(wanted, self._environ)
        await made.open()
        beside.run(made.renew())
        beside.run(made.watch())
        return made

    async def _serve_members(
        self, beside: Beside, members: cluster.Cluster, identity: "Identity | None", address: str
    ) -> None:
        """Answers the other members. Raises `Fatal`."""
        host, port = await cluster.own_place(address)
        options = server.Options(with_http1=False) if identity is None else identity.options()
        await beside.listen(members.methods(), host, port, options, part="placement-raft-leadership")

    async def _serve_sidecars(self, beside: Beside, answering: service.Service, identity: "Identity | None") -> None:
        """Raises `Fatal`."""
        settings = self._settings
        options = server.Options(with_http1=False) if identity is None else identity.options()
        options = options.replace(
            max_connections=MOST_SIDECARS,
            quiet_seconds=settings.keepalive_time,
            answer_seconds=settings.keepalive_timeout,
        )
        where = f"{settings.listen_address or '[::]'}:{settings.port}"
        await beside.listen(answering.methods(), settings.listen_address, settings.port, options)
        server_log.info(f"Placement service started on port {settings.port}")
        server_log.info(f"Node id={settings.id} is waiting for leadership")
        server_log.info(f"Running Placement gRPC server on {where}")
        beside.health.ready("placement-grpc-server")
