"""The servers of a sidecar and what stands behind each: HTTP and gRPC API, public port, metrics, profiles.

Called by `daprd.runtime`, which also stops what is made here.
"""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pydapr.api import access as api_access
from pydapr.api.grpc import invoke as grpc_invoke
from pydapr.api.grpc import metadata as grpc_metadata
from pydapr.api.grpc import proxy as grpc_proxy
from pydapr.api.grpc import router as grpc_router
from pydapr.api.grpc import shutdown as grpc_shutdown
from pydapr.api.grpc import unary
from pydapr.api.http import cors, health, invoke, metadata, router, shutdown
from pydapr.blocks.health import Health
from pydapr.blocks.invoke import Invoker
from pydapr.blocks.metadata import Metadata
from pydapr.blocks.proxy import Proxy
from pydapr.daprd import flags
from pydapr.lib import durations
from pydapr.net import server
from pydapr.net.exchange import Exchange, Handler
from pydapr.observe import logging, metrics
from pydapr.resources import configuration

log = logging.get("dapr.runtime")
http_log = logging.get("dapr.runtime.http")
grpc_log = logging.get("dapr.runtime.grpc.api")

go_duration = durations.text

HEAD_SLOP = 4096
"""What Go's server takes beyond the configured size of a head."""


@dataclass(slots=True)
class Parts:
    """What the faces call, and the Configuration that they are built by."""

    settings: flags.Settings
    configuration: configuration.Configuration
    pipeline: Callable[[Handler], Handler] | None
    invoker: Invoker
    health: Health
    metadata: Metadata
    proxy: Proxy


class CannotListen(Exception):
    """No address of a server could be listened on."""


async def serve_metrics(settings: flags.Settings, stack: contextlib.AsyncExitStack) -> None:
    """Opens the metrics port, and the profile port if that is asked for."""
    if settings.enable_metrics:
        host = settings.metrics_listen_address
        await _open(metrics.serve, host, settings.metrics_port, stack)
        log.info(f"metrics server started on {host}:{settings.metrics_port}/")
    if settings.enable_profiling:
        from pydapr.daprd import profiling

        for host in settings.listen_addresses:
            await _open(profiling.serve, host, settings.profile_port, stack)
            http_log.info(f"HTTP profiling server listening on: {host}:{settings.profile_port}")


async def _open(handler: Handler, host: str, port: int, stack: contextlib.AsyncExitStack) -> None:
    one = server.Server(handler)
    try:
        await one.listen(host, port)
    except OSError as error:
        raise CannotListen(f"failed to listen on {host}:{port}: {bind_error(host, port, error)}") from None
    stack.push_async_callback(one.stop, 1.0)


async def serve(parts: Parts, stop: Callable[[bool], None]) -> list[server.Server]:
    """Opens the API ports; `stop` is what the shutdown API calls."""
    settings = parts.settings
    is_open = api_access.http(_rules(parts.configuration.api_allowed), _rules(parts.configuration.api_denied))
    routes = {route: handler for route, handler in _routes(parts, stop).items() if is_open(route[1].decode())}
    invocations = invoke.InvokeApi(parts.invoker, settings.max_body_size).handle
    inner = router.Router(routes, invocations if is_open("/v1.0/invoke/*") else router.not_found)
    options = server.Options(with_http2=not settings.disable_h2c, max_head=settings.read_buffer_size + HEAD_SLOP)
    grpc_api = server.Server(_grpc_methods(parts, stop), server.Options(with_http1=False))
    await _listen(grpc_api, settings, settings.grpc_port, "grpc", grpc_log, "API gRPC server", "gRPC")
    http_api = server.Server(_chain(parts, inner), options)
    await _listen(http_api, settings, settings.http_port, "http", http_log, "HTTP server", "HTTP")
    servers = [http_api, grpc_api]
    if settings.public_port:
        public = server.Server(router.PublicRouter(_public(routes)), options)
        host = settings.public_listen_address
        try:
            await public.listen(host, settings.public_port)
        except OSError as error:
            raise CannotListen(
                f"failed to start public server: {bind_error(host, settings.public_port, error)}"
            ) from None
        servers.append(public)
    log.info(f"The request body size parameter is: {settings.max_body_size} bytes")
    return servers


def _routes(parts: Parts, stop: Callable[[bool], None]) -> dict[router.Route, Handler]:
    settings = parts.settings
    checks = health.HealthApi(parts.health, settings.app_id)
    description = metadata.MetadataApi(parts.metadata, settings.max_body_size)
    return {
        (b"GET", b"/v1.0/healthz"): checks.ready,
        (b"GET", b"/v1.0/healthz/outbound"): checks.outbound,
        (b"GET", b"/v1.0/metadata"): description.get,
        (b"PUT", metadata.PREFIX + b"*"): description.put,
        (b"POST", b"/v1.0/shutdown"): shutdown.ShutdownApi(stop).post,
    }


def _grpc_methods(parts: Parts, stop: Callable[[bool], None]) -> Handler:
    """What a call to the gRPC API passes."""
    settings, rules = parts.settings, parts.configuration
    largest = settings.max_body_size if settings.max_body_size > 0 else grpc_proxy.LARGEST
    description = grpc_metadata.MetadataApi(parts.metadata)
    answers = {
        "InvokeService": grpc_invoke.InvokeApi(parts.invoker).invoke_service,
        "GetMetadata": description.get,
        "SetMetadata": description.set,
        "Shutdown": grpc_shutdown.ShutdownApi(stop).shut_down,
    }
    if rules.api_allowed or rules.api_denied:
        grpc_log.info("Enabled API access list on gRPC server")
    if settings.api_token:
        grpc_log.info("Enabled token authentication on gRPC server")
    return grpc_router.build(
        {name: unary.Unary(answer, largest) for name, answer in answers.items()},
        grpc_proxy.ProxyApi(parts.proxy, largest).handle,
        api_access.grpc(_rules(rules.api_allowed), _rules(rules.api_denied)),
        settings.api_token,
    )


def _rules(rules: Iterable[configuration.ApiRule]) -> list[tuple[str, str, str]]:
    return [(rule.name, rule.version, rule.protocol) for rule in rules]


def _public(routes: dict[router.Route, Handler]) -> dict[router.Route, Handler]:
    return {route: handler for route, handler in routes.items() if route[1] != b"/v1.0/shutdown"}


def _chain(parts: Parts, inner: router.Router) -> Handler:
    """What a request to the HTTP API passes, outermost last; what is off is not in it."""
    settings = parts.settings
    chain: Handler = inner
    calls = parts.configuration.api_logging
    if calls.enabled if settings.enable_api_logging is None else settings.enable_api_logging:
        from pydapr.api.http import calllog

        chain = calllog.CallLog(chain, inner.route, calls.obfuscate_urls, calls.omit_health_checks)
    if parts.pipeline is not None:
        chain = _fresh(parts.pipeline(chain))
    if settings.api_token:
        free = (b"/v1.0/healthz", b"/v1.0/healthz/outbound")
        chain = router.require_token(settings.api_token, free, chain)
    if settings.allowed_origins:
        http_log.info("Enabled CORS HTTP middleware")
        chain = cors.Cors(settings.allowed_origins, chain)
    if settings.max_body_size > 0:
        http_log.info(f"Enabled max body size HTTP middleware with size {settings.max_body_size} bytes")
    return chain


def _fresh(pipeline: Handler) -> Handler:
    """Gives middleware an exchange of its own, so that what it changes is seen behind it only."""
    from pydapr.net.wrapped import Wrapped

    async def handle(exchange: Exchange) -> None:
        await pipeline(Wrapped(exchange))

    return handle


async def _listen(
    one: server.Server,
    settings: flags.Settings,
    port: int,
    kind: str,
    scope: logging.Logger,
    name: str,
    short: str,
) -> None:
    if settings.unix_domain_socket:
        path = f"{settings.unix_domain_socket}/dapr-{settings.app_id}-{kind}.socket"
        try:
            await one.listen_unix(path)
        except OSError as error:
            raise CannotListen(f"failed to start {name}: could not listen on {path}: {error.strerror}") from None
        scope.info(f"{short} server listening on UNIX socket: {path}")
        log.info(f"{name} is running on a Unix Domain Socket")
        return
    opened = 0
    for host in settings.listen_addresses:
        try:
            await one.listen(host, port)
        except OSError as error:
            reason = bind_error(host, port, error)
            scope.error(f"Failed to listen for {short} server on TCP address {host}:{port} with error: {reason}")
            continue
        opened += 1
        scope.info(f"{short} server listening on TCP address: {host}:{port}")
    if not opened:
        raise CannotListen(f"failed to start {name}: could not listen on any endpoint")
    log.info(f"{name} is running on port {port}")


def bind_error(host: str, port: int, error: OSError) -> str:
    """`error` of a listening socket as Go words it."""
    return f"listen tcp {host}:{port}: bind: {(error.strerror or str(error)).lower()}"
