"""The sidecar's way to the schedulers: opened at the start when there are any, and what of theirs goes to the app.

Made by `daprd.runtime`. What speaks to schedulers is imported only when one is configured.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pydapr.blocks.jobs import Jobs
from pydapr.net import dial
from pydapr.observe import logging

if TYPE_CHECKING:
    from pydapr.app.channel import AppChannel
    from pydapr.app.grpc import GrpcApp
    from pydapr.blocks.health import Health
    from pydapr.daprd import flags
    from pydapr.daprd.identity import Identity
    from pydapr.daprd.measures import Measures
    from pydapr.peers.scheduler import Scheduler

log = logging.get("dapr.runtime.scheduler.watchhosts")

TARGET = "scheduler-watch-hosts"
"""What the sidecar is not ready without, once schedulers are configured, until it has found one."""


class Unusable(Exception):
    """The settings ask for what cannot be. The message says what."""


class JobRuntime:
    """The block for the faces, and the schedulers behind it, None where none are configured."""

    def __init__(self, settings: "flags.Settings", scheduler: "Scheduler | None") -> None:
        self.scheduler = scheduler
        self.block = Jobs(scheduler, settings.app_id, settings.identity_namespace)

    def addresses(self) -> Sequence[str]:
        """The schedulers in use."""
        return self.scheduler.addresses if self.scheduler is not None else ()

    def take(self, is_ready: bool) -> None:
        """The app takes jobs from now on, or does not."""
        if self.scheduler is not None:
            self.scheduler.take_jobs(is_ready)

    async def drain(self) -> None:
        """Takes nothing more that is due, and waits for what is under way."""
        if self.scheduler is not None:
            await self.scheduler.drain()


def open_jobs(
    settings: "flags.Settings",
    identity: "Identity | None",
    health: "Health",
    app: "Callable[[], AppChannel | None]",
    rpc: "GrpcApp",
    channel: "AppChannel | None",
    measures: "Measures | None",
    stack: contextlib.AsyncExitStack,
) -> JobRuntime:
    """Looks for schedulers from now on, if there are any. `channel` is the app itself, `app` gives what stands before
    it, `rpc` is the app as a server of gRPC. Raises `Unusable`."""
    if settings.scheduler_job_streams < 1:
        raise Unusable(f"must define at least 1 scheduler stream, got {settings.scheduler_job_streams}")
    if not settings.scheduler_addresses:
        log.warning("No scheduler host addresses provided. Scheduler disabled")
        return JobRuntime(settings, None)
    from pydapr.app import jobs as app_jobs
    from pydapr.app.grpc import GrpcChannel
    from pydapr.blocks.jobs import Deliveries
    from pydapr.peers.scheduler import Scheduler

    made = Scheduler(
        settings.scheduler_addresses,
        settings.scheduler_job_streams,
        settings.app_id,
        settings.identity_namespace,
        dial.address if identity is None else identity.way_to("dapr-scheduler"),
        identity is not None,
    )
    target: app_jobs.App = app_jobs.HttpApp(app)
    if settings.app_protocol in ("grpc", "grpcs"):
        target = app_jobs.RpcApp(rpc, channel.turns if isinstance(channel, GrpcChannel) else None)
    deliveries = Deliveries(target)
    if measures is not None:
        made.metrics, deliveries.metrics = measures.grpc, measures.jobs
    made.on_job = deliveries.deliver
    if identity is not None:
        identity.on_change(made.retire)
    health.not_ready(TARGET)
    made.on_hosts = lambda: health.ready(TARGET)
    stack.push_async_callback(made.close)
    made.begin()
    return JobRuntime(settings, made)
