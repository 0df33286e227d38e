"""A running sidecar: builds the parts from the settings, starts them in order, stops them in reverse.

Made by `daprd.start`. The order of the start and its log lines are the original's (v1.18.3,
`pkg/runtime/runtime.go`): the app may use the sidecar before the sidecar has found the app.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from pydapr.api import internal
from pydapr.api.grpc import proxy as grpc_proxy
from pydapr.app import endpoint as app_endpoint
from pydapr.app import grpc as app_grpc
from pydapr.app import http as app_http
from pydapr.app.channel import AppChannel
from pydapr.blocks.health import Health
from pydapr.blocks.invoke import Invoker
from pydapr.blocks.proxy import Proxy
from pydapr.blocks.secrets import Secrets
from pydapr.components import nameresolution
from pydapr.daprd import bindings, blocks, faces, flags, jobs, load, messages, names, state, tracing, triggers
from pydapr.daprd.farewell import Farewell
from pydapr.daprd.presence import Presence
from pydapr.net import dial, hostaddress, http2_pool, server
from pydapr.net.grpc_server import Method
from pydapr.observe import logging
from pydapr.peers import sidecar
from pydapr.wire import http2

if TYPE_CHECKING:
    from pydapr.api.internal_actors import Answer
    from pydapr.app.pipeline import Pipeline
    from pydapr.components.secretstores import SecretStore
    from pydapr.daprd.actors import ActorRuntime
    from pydapr.daprd.components import Opened
    from pydapr.daprd.identity import Identity
    from pydapr.daprd.measures import Measures
    from pydapr.net.exchange import Handler
    from pydapr.observe.tracing import Tracer
    from pydapr.peers.scheduler import Scheduler
    from pydapr.policy.gate import Gate
    from pydapr.policy.resiliency import Resiliency
    from pydapr.resources import configuration

log = logging.get("dapr.runtime")
actor_log = logging.get("dapr.runtime.actor")
internal_log = logging.get("dapr.runtime.grpc.internal")
api_log = logging.get("dapr.api")
channels_log = logging.get("dapr.runtime.channels")
security_log = logging.get("dapr.runtime.security")

GIVE_BACK_SECONDS = 5.0
"""How long it may take to close what was opened when the start fails."""

DRAIN_SECONDS = 30.0
"""How long messages and events that the app has may take when the end of the sidecar is held up, as in the original."""

Behind = Callable[[AppChannel, str], AppChannel]
"""Puts before a channel what stands there."""


class Fatal(Exception):
    """The sidecar cannot run; the message is the reason."""


class Runtime:
    """One life of a sidecar, from its ports to their end. `stop` is set when it is to end."""

    def __init__(self, settings: flags.Settings, stop: asyncio.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._health = Health()
        self._app_is_unhealthy = asyncio.Event()
        self._app_is_unhealthy.set()
        self._servers: list[server.Server] = []
        self._measured: Measures | None = None
        self._tracer: Tracer | None = None
        self._app: AppChannel | None = None
        """The app itself, without middleware before it."""
        self._sources: triggers.Triggers | None = None
        self._actors: ActorRuntime | None = None
        self._farewell = Farewell()

    async def run(self) -> int:
        """Runs until `stop` is set; the exit code."""
        stack = contextlib.AsyncExitStack()
        try:
            return await self._live(stack)
        except (Fatal, load.Failed, messages.Unusable, jobs.Unusable, faces.CannotListen) as error:
            log.fatal(f"Fatal error from runtime: {error}")
            await self._give_back(stack)
            return 1
        except BaseException:
            await self._give_back(stack)
            raise

    async def _give_back(self, stack: contextlib.AsyncExitStack) -> None:
        """What a start had got that has failed; nothing of it may hold the process."""
        self._farewell.end_within(GIVE_BACK_SECONDS)
        closing = asyncio.create_task(stack.aclose())
        await asyncio.wait((closing,), timeout=GIVE_BACK_SECONDS)
        if not closing.done():
            log.fatal(f"What was opened could not be closed within {GIVE_BACK_SECONDS:.0f}s, forcing the end")
            os._exit(1)
        if (fault := closing.exception()) is not None:
            log.error(f"Unexpected fault while closing what was opened: {fault!r}")

    async def _live(self, stack: contextlib.AsyncExitStack) -> int:
        stack.push_async_callback(self._farewell.say)
        starting = asyncio.create_task(self._start(stack))
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait((starting,))
        elif starting.exception() is not None:
            stopping.cancel()
            starting.result()
        else:
            await stopping
        return await self._end(stack)

    # -- start --

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        began = time.monotonic()
        settings = self._settings
        self._refuse_what_is_not_there()
        identity = await self._identify(stack)
        loaded = load.load(settings)
        measures, page = self._measures(loaded.configuration.metrics)
        if identity is not None and measures is not None:
            identity.measure(measures.identity, measures.grpc)
        policies = load.policies(loaded, measures.resiliency if measures is not None else None)
        gate = load.gate(settings, loaded, measures.access if measures is not None else None)
        await faces.serve_metrics(settings, page, stack)
        self._introduce()
        self._export(loaded.configuration)
        listening = self._reserve_internal_port(stack)
        host, port = _own_address(), listening.getsockname()[1]
        resolver = await names.open_resolver(loaded.configuration.name_resolution)
        stack.push_async_callback(resolver.close)
        sidecars = self._sidecars(identity, host, stack)
        opened = await load.open_components(settings, loaded, stack, measures.components if measures else None)
        stores = opened.secret_stores if opened is not None else {}
        api_pipeline, app_pipeline = load.pipelines(loaded, opened)
        behind = _behind(app_pipeline, measures)
        invoker = Invoker(settings.app_id, settings.identity_namespace, resolver, sidecars, _by_url(behind))
        invoker.policies = policies
        stack.callback(invoker.close)
        grpc_app = self._open_apps(invoker, await self._open_endpoints(loaded, stores), behind, stack)
        proxy = Proxy(settings.app_id, settings.identity_namespace, resolver, sidecars, grpc_app, gate)
        description = load.describe(settings, loaded, opened)
        states = state.block(settings.app_id, opened, policies, measures)
        kept = jobs.open_jobs(
            settings, identity, self._health, lambda: invoker.app, grpc_app, self._app, measures, stack
        )
        self._actors = self._open_actors(host, port, sidecars, invoker, opened, loaded, policies, kept.scheduler)
        description.actors = self._actors.status if self._actors is not None else None
        others = blocks.build(opened, lambda: invoker.app, policies, measures, kept.block)
        about = messages.build(
            settings, loaded, opened, states, lambda: invoker.app, grpc_app, policies, measures, self._tracer, stack
        )
        description.subscriptions, description.schedulers = about.documents, kept.addresses
        parts = faces.Parts(
            settings, loaded.configuration, api_pipeline, invoker, self._health, description, proxy,
            self._secrets(stores, loaded, policies), states, about.publisher, others, measures, self._tracer,
            about.consumers, self._actors,
        )  # fmt: skip
        stack.push_async_callback(self._close_servers)
        stack.callback(others.configuration.close)
        self._servers += await faces.serve(parts, self._shut_down)
        await self._serve_internal(invoker, proxy, gate, listening, identity)
        await names.register(resolver, loaded.configuration.name_resolution, self._instance(host, port))
        events = bindings.source(
            opened, settings, lambda: invoker.app, grpc_app, others.bindings, states, policies, measures, self._tracer
        )
        self._sources = about.triggers(events)
        stack.push_async_callback(self._sources.end)
        stack.push_async_callback(kept.drain)
        await self._meet_app(invoker, resolver, identity, kept, self._sources, stack)
        elapsed = int((time.monotonic() - began) * 1000)
        log.info(f"dapr initialized. Status: Running. Init Elapsed {elapsed}ms")
        self._health.ready()

    async def _meet_app(
        self,
        invoker: Invoker,
        resolver: nameresolution.Resolver,
        identity: "Identity | None",
        kept: "jobs.JobRuntime",
        sources: triggers.Triggers,
        stack: contextlib.AsyncExitStack,
    ) -> None:
        """The last step of the start: the app may use the sidecar already."""
        if self._actors is not None:
            self._actors.begin(identity, self._health, stack)
        # The first thing to go: nobody shall begin to call while what is under way ends.
        stack.push_async_callback(resolver.close)
        self._health.is_outbound_ready = True
        presence = Presence(
            self._settings, self._app, invoker, kept, self._actors, self._measured, self._app_is_unhealthy
        )
        await presence.find(sources, lambda work: self._run_beside(work, stack))

    def _export(self, found: "configuration.Configuration") -> None:
        """Opens what goes to collectors, besides metrics: the log if that is asked for, and traces."""
        app_id = self._settings.app_id
        try:
            if os.environ.get("OTEL_LOGS_EXPORTER") == "otlp":
                from pydapr.daprd import exports

                exports.open_logs(app_id, os.environ, self._farewell)
            on_loss = self._measured.spans.dropped if self._measured is not None else None
            self._tracer = tracing.open_tracing(found, app_id, os.environ, self._farewell, on_loss)
        except tracing.Unusable as error:
            raise Fatal(str(error)) from None

    def _measures(self, wanted: "configuration.Metrics") -> "tuple[Measures | None, Handler | None]":
        """Who measures what, and the page that shows it; the page shows the process when nothing else is measured."""
        if not self._settings.enable_metrics:
            return None, None
        from pydapr.daprd import measures
        from pydapr.observe import metrics_page

        registry = measures.registry(self._settings, wanted)
        if os.environ.get("OTEL_METRICS_EXPORTER") == "otlp":
            from pydapr.daprd import exports

            try:
                exports.open_metrics(registry.pieces, self._settings.app_id, os.environ, self._farewell)
            except tracing.Unusable as error:
                raise Fatal(str(error)) from None
        if wanted.enabled:
            try:
                self._measured = measures.Measures(registry, wanted, self._settings.namespace)
            except measures.Unusable as error:
                raise Fatal(f"error loading configuration: {error}") from None
        return self._measured, metrics_page.page(registry)

    def _sidecars(self, identity: "Identity | None", host: str, stack: contextlib.AsyncExitStack) -> sidecar.Sidecars:
        settings = self._settings
        pools = http2_pool.Pool(dial.address, http2.Limits()) if identity is None else identity.pools
        stack.callback(pools.close)
        made = sidecar.Sidecars(pools, settings.app_id, settings.identity_namespace, host)
        made.metrics = self._measured.services if self._measured is not None else None
        return made

    def _open_apps(
        self, invoker: Invoker, named: Mapping[str, AppChannel], behind: Behind, stack: contextlib.AsyncExitStack
    ) -> app_grpc.GrpcApp:
        """Gives `invoker` the ways to the app and to servers outside of Dapr; the app as a server of gRPC."""
        invoker.endpoints = {name: behind(channel, name) for name, channel in named.items()}
        grpc_app = self._grpc_app()
        stack.callback(grpc_app.close)
        self._app = self._app_channel(grpc_app)
        if self._app is not None:
            invoker.app = self._app if self._app.takes_rpc else behind(self._app, "")
        else:
            channels_log.warning("App channel is not initialized. Did you configure an app-port?")
        return grpc_app

    async def _open_endpoints(
        self, loaded: load.Loaded, stores: "Mapping[str, SecretStore]"
    ) -> Mapping[str, AppChannel]:
        if not loaded.resources.http_endpoints:
            return {}
        from pydapr.daprd import endpoints

        return await endpoints.open_all(loaded.resources.http_endpoints, os.environ, stores)

    def _open_actors(
        self,
        host: str,
        port: int,
        sidecars: sidecar.Sidecars,
        invoker: Invoker,
        opened: "Opened | None",
        loaded: load.Loaded,
        policies: "Resiliency | None",
        scheduler: "Scheduler | None",
    ) -> "ActorRuntime | None":
        """The actors, None without a placement service."""
        if not self._settings.placement_addresses:
            reason = "api error: code = Unavailable desc = placement service is not configured"
            actor_log.warning(f"Actor runtime disabled: {reason}. Actors and Workflow APIs will be unavailable")
            return None
        from pydapr.daprd import actors

        return actors.ActorRuntime(
            self._settings,
            self._reached_as(host),
            port,
            sidecars,
            lambda: invoker.app,
            opened.state_stores.get(opened.actor_store) if opened is not None else None,
            "ActorStateTTL" in loaded.configuration.features,
            policies,
            self._measured,
            scheduler,
        )

    def _secrets(
        self, stores: "Mapping[str, SecretStore]", loaded: load.Loaded, policies: "Resiliency | None"
    ) -> Secrets:
        scopes = {scope.store_name: scope.is_allowed for scope in loaded.configuration.secrets_scopes}
        made = Secrets(stores, scopes, policies)
        made.operations.metrics = self._measured.secrets if self._measured is not None else None
        return made

    def _refuse_what_is_not_there(self) -> None:
        settings = self._settings
        if settings.mode != "standalone":
            raise Fatal(f"mode {settings.mode} is not available in this version of pydapr; use standalone")

    async def _identify(self, stack: contextlib.AsyncExitStack) -> "Identity | None":
        """Who we are; None without mTLS. Waits for sentry: nothing listens before."""
        if not self._settings.enable_mtls:
            security_log.warning("mTLS is disabled. Skipping certificate request and tls validation")
            return None
        from pydapr.daprd import identity

        try:
            made = identity.Identity(self._settings, os.environ)
            await made.open()
        except identity.Refused as error:
            raise Fatal(str(error)) from None
        self._run_beside(made.renew(), stack)
        self._run_beside(made.watch_anchors(), stack)
        return made

    def _introduce(self) -> None:
        """Says who starts, and what of its settings has no effect."""
        log.info(f"{self._settings.mode} mode configured")
        log.info(f"app id: {self._settings.app_id}")
        if self._settings.app_ssl_deprecated:
            wanted = self._settings.app_protocol
            log.warning(f"The 'app-ssl' flag is deprecated; use 'app-protocol={wanted}' instead")

    def _reserve_internal_port(self, stack: contextlib.AsyncExitStack) -> Any:
        """Binds the internal port before components open connections that could be given it."""
        settings = self._settings
        host = settings.internal_grpc_listen_address
        try:
            listening = server.bind(host, settings.internal_grpc_port)
        except OSError as error:
            if not settings.internal_grpc_port_derived:
                reason = faces.bind_error(host, settings.internal_grpc_port, error)
                raise Fatal(f"failed to start internal gRPC server: {reason}") from None
            listening = server.bind(host, 0)
        stack.callback(listening.close)
        listening.listen(1024)  # who comes early waits
        return listening

    def _grpc_app(self) -> app_grpc.GrpcApp:
        """The app as a gRPC server: whether it is one shows when it is called."""
        settings = self._settings
        make = app_grpc.GrpcApp if self._measured is None else self._measured.grpc_app
        return make(
            settings.app_channel_address,
            settings.app_port,
            settings.app_protocol in ("grpcs", "https"),
            settings.app_api_token,
            settings.max_body_size if settings.max_body_size > 0 else grpc_proxy.LARGEST,
        )

    def _app_channel(self, grpc_app: app_grpc.GrpcApp) -> AppChannel | None:
        settings = self._settings
        if not settings.app_port:
            return None
        if settings.app_protocol in ("grpc", "grpcs"):
            return app_grpc.GrpcChannel(grpc_app, settings.app_max_concurrency)
        host, port = settings.app_channel_address, settings.app_port
        with_tls = settings.app_protocol == "https"
        # An app beside its sidecar has a certificate that nobody signed, as with the original.
        connect = dial.to(host, port, with_tls, verify=False)
        node = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if settings.app_protocol == "h2c":
            from pydapr.app import http2 as app_http2

            return app_http2.H2cChannel(
                connect, f"http://{node}", node, b"", settings.app_api_token, settings.app_max_concurrency
            )
        base = f"{settings.app_protocol}://{node}"
        return app_http.HttpChannel(connect, base, node, b"", settings.app_api_token, settings.app_max_concurrency)

    async def _serve_internal(
        self, invoker: Invoker, proxy: Proxy, gate: "Gate | None", listening: Any, identity: "Identity | None"
    ) -> None:
        settings = self._settings
        measures = self._measured
        most = max(settings.max_body_size, 4 << 20) + (1 << 16)
        api = internal.InternalApi(invoker, most, measures.services if measures is not None else None, gate)
        largest = settings.max_body_size if settings.max_body_size > 0 else grpc_proxy.LARGEST
        others: Method = grpc_proxy.ProxyApi(proxy, largest).handle
        counted = None
        if measures is not None:
            from pydapr.api.grpc import measured

            internal_log.info("Enabled gRPC metrics middleware")
            others = measured.passing(others, measures.grpc, is_server=False)
            side = measures.grpc.server

            def counted(path: bytes, answer: "Answer") -> "Answer":
                return measured.answer(answer, side.method(path.decode()), None)

        around = None
        if self._tracer is not None:
            from pydapr.api.grpc import traced

            internal_log.info("Enabled gRPC tracing middleware")
            tracer = self._tracer
            others = traced.passing(others, tracer, settings.app_id, echoes=False)

            def around(method: Method) -> Method:
                return traced.internal(method, tracer, settings.app_id)

        methods = api.methods(
            others, around, self._actors.internal.methods(counted) if self._actors is not None else None
        )
        one = server.Server(methods, _internal_options(identity))
        if identity is not None:
            identity.on_change(one.retire)
        self._servers.append(one)
        await one.listen_on(listening)
        address, port = listening.getsockname()[:2]
        shown = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        internal_log.info(f"gRPC server listening on pre-bound TCP address: {shown}")
        log.info(f"Internal gRPC server is running on {settings.internal_grpc_listen_address}:{port}")

    def _instance(self, host: str, port: int) -> nameresolution.Instance:
        """This sidecar as others find it."""
        settings = self._settings
        host = self._reached_as(host)
        return nameresolution.Instance(
            settings.app_id,
            settings.identity_namespace,
            f"{host}:{port}",
            http_port=settings.http_port,
            app_port=settings.app_port,
        )

    def _reached_as(self, host: str) -> str:
        """The address of this machine, as it stands before a port."""
        listen = self._settings.internal_grpc_listen_address
        if listen in ("127.0.0.1", "localhost", "[::1]"):
            return listen
        return f"[{host}]" if ":" in host else host

    # -- the app --

    def _run_beside(self, work: Coroutine[Any, Any, None], stack: contextlib.AsyncExitStack) -> None:
        """Runs `work` until the sidecar stops; the log tells when it ends by a fault before."""
        task = asyncio.create_task(work)
        task.add_done_callback(_tell_fault)

        async def end() -> None:
            task.cancel()
            await asyncio.wait((task,))

        stack.push_async_callback(end)

    # -- end --

    def _shut_down(self, force: bool) -> None:
        """The API asks for the end."""
        if force:
            api_log.warning("Force shutdown requested, exiting immediately without graceful shutdown")
            asyncio.get_running_loop().call_later(0.1, os._exit, 1)
            return
        api_log.info("Shutdown requested via API")
        self._stop.set()

    async def _end(self, stack: contextlib.AsyncExitStack) -> int:
        """Lets what is under way finish, within the time that is given for it."""
        self._health.not_ready()
        await self._block_end()
        seconds = self._settings.graceful_shutdown_seconds
        self._farewell.end_within(seconds)
        log.info("Dapr is shutting down")
        closing = asyncio.create_task(stack.aclose())
        await asyncio.wait((closing,), timeout=seconds if seconds > 0 else None)
        if not closing.done():
            log.fatal("Graceful shutdown timeout exceeded, forcing shutdown")
            # Not one step more: whoever still waits for an answer is to see a broken connection, not an error of ours.
            os._exit(1)
        closing.result()
        log.info("Dapr runtime stopped")
        return 0

    async def _block_end(self) -> None:
        duration = self._settings.block_shutdown_seconds
        if duration is None:
            return
        text = faces.go_duration(duration)
        log.info(f"Blocking graceful shutdown for {text} or until app reports unhealthy...")
        await self._drain()
        try:
            async with asyncio.timeout(duration):
                await self._app_is_unhealthy.wait()
            log.info("App reported unhealthy, entering shutdown...")
        except TimeoutError:
            log.info("Block shutdown period expired, entering shutdown...")

    async def _drain(self) -> None:
        """Lets what messages and events have begun come to its end; what follows waits where it comes from."""
        if self._sources is None:
            return
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._sources.end()
        except TimeoutError:
            log.warning(f"Messages and events were not finished within {DRAIN_SECONDS:.0f}s, and go back")

    async def _close_servers(self) -> None:
        """Ends all servers at once; `_end` bounds how long that may take."""
        async with asyncio.TaskGroup() as group:
            for one in self._servers:
                group.create_task(one.stop(None))


def _tell_fault(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (fault := task.exception()) is not None:
        log.error(f"Unexpected end of {task.get_coro()}: {fault!r}")


def _internal_options(identity: "Identity | None") -> server.Options:
    """Of the internal port; with an identity whoever calls shows one, too."""
    if identity is None:
        return server.Options(with_http1=False, keeps_traces_apart=True)
    from pydapr.security import tls

    return server.Options(
        with_http1=False, keeps_traces_apart=True, tls=identity.server_context(), welcomes=tls.is_somebody
    )


def _own_address() -> str:
    """Where other sidecars reach this one. Without a network those on this machine still do."""
    try:
        return hostaddress.host_address(os.environ)
    except OSError as error:
        log.warning(f"{error}: only sidecars on this machine can call this one")
        return "127.0.0.1"


def _behind(pipeline: "Pipeline | None", measures: "Measures | None") -> Behind:
    """Puts before a channel the middleware of calls to apps and who measures them, if there are any.

    A server outside of Dapr has a name, the own app has "".
    """

    def behind(channel: AppChannel, name: str) -> AppChannel:
        if pipeline is not None:
            from pydapr.app.pipeline import Pipelined

            channel = Pipelined(channel, pipeline)
        return measures.channel(channel, name) if measures is not None else channel

    return behind


def _by_url(behind: Behind) -> Callable[[str], AppChannel]:
    return lambda url: behind(_channel_to_url(url), url)


def _channel_to_url(url: str) -> AppChannel:
    host, port, with_tls, path = dial.parse_url(url)
    return app_http.HttpChannel(dial.to(host, port, with_tls), url.rstrip("/"), app_endpoint.node(url), path.encode())
