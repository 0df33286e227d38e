"""The servers of a sidecar and what stands behind each: HTTP and gRPC API, public port, metrics, profiles.

Called by `daprd.runtime`, which also stops what is made here.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydapr.api import access as api_access
from pydapr.api.grpc import bindings as grpc_bindings
from pydapr.api.grpc import configuration as grpc_configuration
from pydapr.api.grpc import conversation as grpc_conversation
from pydapr.api.grpc import crypto as grpc_crypto
from pydapr.api.grpc import invoke as grpc_invoke
from pydapr.api.grpc import jobs as grpc_jobs
from pydapr.api.grpc import lock as grpc_lock
from pydapr.api.grpc import metadata as grpc_metadata
from pydapr.api.grpc import proxy as grpc_proxy
from pydapr.api.grpc import pubsub as grpc_pubsub
from pydapr.api.grpc import router as grpc_router
from pydapr.api.grpc import secrets as grpc_secrets
from pydapr.api.grpc import shutdown as grpc_shutdown
from pydapr.api.grpc import state as grpc_state
from pydapr.api.grpc import streaming, unary
from pydapr.api.http import bindings as http_bindings
from pydapr.api.http import (
    configuration as http_configuration,
)
from pydapr.api.http import (
    conversation as http_conversation,
)
from pydapr.api.http import cors, crypto, errors, health, invoke, lock, metadata, router, secrets, shutdown, state
from pydapr.api.http import jobs as http_jobs
from pydapr.api.http import pubsub as http_pubsub
from pydapr.blocks.health import Health
from pydapr.blocks.invoke import Invoker
from pydapr.blocks.metadata import Metadata
from pydapr.blocks.proxy import Proxy
from pydapr.blocks.pubsub.publish import Publisher
from pydapr.blocks.secrets import Secrets
from pydapr.blocks.state import State
from pydapr.daprd import blocks, flags
from pydapr.errors import ActorsNotPlaced, InvokeFailed
from pydapr.lib import durations
from pydapr.net import grpc_server, server
from pydapr.net.exchange import Exchange, Handler
from pydapr.net.grpc_server import Method
from pydapr.net.grpc_stream import Stream
from pydapr.net.http2_server import ServerExchange
from pydapr.observe import logging
from pydapr.resources import configuration

if TYPE_CHECKING:
    from pydapr.daprd.actors import ActorRuntime
    from pydapr.daprd.measures import Measures
    from pydapr.daprd.subscriptions import Consumers
    from pydapr.observe.tracing import Tracer

log = logging.get("dapr.runtime")
http_log = logging.get("dapr.runtime.http")
grpc_log = logging.get("dapr.runtime.grpc.api")

go_duration = durations.text

PUBLIC = (b"/v1.0/healthz", b"/v1.0/metadata")
"""How the paths begin that the public port answers, as with the original."""

ACTORS = b"/v1.0/actors/"

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
    secrets: Secrets
    state: State
    publisher: Publisher
    blocks: blocks.Blocks
    measures: "Measures | None" = None
    tracer: "Tracer | None" = None
    consumers: "Consumers | None" = None
    actors: "ActorRuntime | None" = None


class CannotListen(Exception):
    """No address of a server could be listened on."""


async def serve_metrics(settings: flags.Settings, page: Handler | None, stack: contextlib.AsyncExitStack) -> None:
    """Opens the metrics port for `page`, and the profile port if that is asked for."""
    if page is not None:
        host = settings.metrics_listen_address
        await _open(page, host, settings.metrics_port, stack)
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
    invocations = invoke.InvokeApi(parts.invoker, settings.max_body_size, _failed(parts.measures)).handle
    respond = _respond(parts.measures)
    inner = router.Router(
        routes, invocations if is_open("/v1.0/invoke/*") else router.not_found, invoke.PREFIX, respond
    )
    options = server.Options(with_http2=not settings.disable_h2c, max_head=settings.read_buffer_size + HEAD_SLOP)
    grpc_api = server.Server(_grpc_methods(parts, stop), server.Options(with_http1=False))
    await _listen(grpc_api, settings, settings.grpc_port, "grpc", grpc_log, "API gRPC server", "gRPC")
    http_api = server.Server(_chain(parts, inner), options)
    await _listen(http_api, settings, settings.http_port, "http", http_log, "HTTP server", "HTTP")
    servers = [http_api, grpc_api]
    if settings.public_port:
        inner_public = _measured(router.PublicRouter(_public(routes), respond), parts.measures)
        public = server.Server(_traced(inner_public, parts.tracer), options)
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
    secret = secrets.SecretsApi(parts.secrets)
    return {
        (b"GET", b"/v1.0/healthz"): checks.ready,
        (b"GET", b"/v1.0/healthz/outbound"): checks.outbound,
        (b"GET", b"/v1.0/metadata"): description.get,
        (b"PUT", metadata.PREFIX + b"*"): description.put,
        (b"POST", b"/v1.0/shutdown"): shutdown.ShutdownApi(stop).post,
        (b"GET", secrets.PREFIX + b"*/bulk"): secret.get_bulk,
        (b"GET", secrets.PREFIX + b"*/*"): secret.get,
        **_state_routes(state.StateApi(parts.state, settings.max_body_size)),
        **_publish_routes(parts),
        **_actor_routes(parts),
        **_routes_of_blocks(parts.blocks, settings.max_body_size),
    }


def _state_routes(api: state.StateApi) -> dict[router.Route, Handler]:
    routes: dict[router.Route, Handler] = {
        (b"GET", state.PREFIX + b"*/*"): api.get,
        (b"DELETE", state.PREFIX + b"*/*"): api.delete,
        (b"GET", state.ALPHA_PREFIX + b"*"): api.keys,
    }
    for method in (b"POST", b"PUT"):
        routes[method, state.PREFIX + b"*"] = api.save
        routes[method, state.PREFIX + b"*/bulk"] = api.get_bulk
        routes[method, state.PREFIX + b"*/transaction"] = api.transact
        routes[method, state.ALPHA_PREFIX + b"*/query"] = api.query
    return routes


def _actor_routes(parts: Parts) -> dict[router.Route, Handler]:
    call = get = transact = _no_actors
    if parts.actors is not None:
        from pydapr.api.http import actors

        api = actors.ActorsApi(parts.actors.calls, parts.actors.state, parts.settings.max_body_size)
        call, get, transact = api.call, api.get_state, api.transact
    routes: dict[router.Route, Handler] = {
        (method, ACTORS + b"*/*/method/*"): call for method in (b"GET", b"POST", b"DELETE", b"PUT")
    }
    register = get_one = unregister = register_timer = unregister_timer = _no_actors
    if parts.actors is not None:
        from pydapr.api.http import reminders

        kept = reminders.RemindersApi(parts.actors.reminders, parts.actors.timers, parts.settings.max_body_size)
        register, get_one, unregister = kept.register, kept.get, kept.unregister
        register_timer, unregister_timer = kept.register_timer, kept.unregister_timer
    for method in (b"POST", b"PUT"):
        routes[method, ACTORS + b"*/*/reminders/*"] = register
        routes[method, ACTORS + b"*/*/timers/*"] = register_timer
    routes[b"GET", ACTORS + b"*/*/reminders/*"] = get_one
    routes[b"DELETE", ACTORS + b"*/*/reminders/*"] = unregister
    routes[b"DELETE", ACTORS + b"*/*/timers/*"] = unregister_timer
    routes[b"GET", ACTORS + b"*/*/state/*"] = get
    for method in (b"POST", b"PUT"):
        routes[method, ACTORS + b"*/*/state"] = transact
    return routes


async def _no_actors(exchange: Exchange) -> None:
    raise ActorsNotPlaced


async def _no_actors_rpc(exchange: ServerExchange, data: bytes) -> bytes:
    raise ActorsNotPlaced


def _publish_routes(parts: Parts) -> dict[router.Route, Handler]:
    measures = parts.measures
    count = measures.errors.answered if measures is not None and measures.errors is not None else None
    api = http_pubsub.PublishApi(parts.publisher, parts.settings.max_body_size, count)
    one, many = api.publish, api.publish_many
    routes: dict[router.Route, Handler] = {}
    for method in (b"POST", b"PUT"):
        for prefix in http_pubsub.BULK_PREFIXES:
            routes[method, prefix + b"*/**"] = many
        routes[method, http_pubsub.PREFIX + b"*/**"] = one
    if parts.publisher.brokers:
        from pydapr.api.http import browse
        from pydapr.blocks.pubsub.browse import Browser

        shown = browse.BrowseApi(Browser(parts.publisher), parts.settings.max_body_size)
        routes[b"GET", browse.PREFIX + b"*/**"] = shown.get
        routes[b"POST", browse.PREFIX + b"*/**"] = shown.replay
    return routes


def _routes_of_blocks(made: blocks.Blocks, most: int) -> dict[router.Route, Handler]:
    documents, locks = crypto.CryptoApi(made.crypto, most), lock.LockApi(made.lock, most)
    items = http_configuration.ConfigurationApi(made.configuration)
    routes: dict[router.Route, Handler] = {
        (b"PUT", crypto.PREFIX + b"*/encrypt"): documents.encrypt,
        (b"PUT", crypto.PREFIX + b"*/decrypt"): documents.decrypt,
        (b"POST", lock.LOCK_PREFIX + b"*"): locks.lock,
        (b"POST", lock.UNLOCK_PREFIX + b"*"): locks.unlock,
    }
    talks = http_conversation.ConversationApi(made.conversations, most)
    routes[b"POST", http_conversation.ALPHA1_PREFIX + b"*/converse"] = talks.converse_alpha1
    routes[b"POST", http_conversation.ALPHA2_PREFIX + b"*/converse"] = talks.converse_alpha2
    kept = http_jobs.JobsApi(made.jobs, most)
    for prefix in http_jobs.PREFIXES:
        routes[b"POST", prefix + b"*"] = kept.schedule
        routes[b"GET", prefix + b"*"] = kept.get
        routes[b"DELETE", prefix + b"*"] = kept.delete
    calls = http_bindings.BindingsApi(made.bindings, most)
    for method in (b"POST", b"PUT"):
        routes[method, http_bindings.PREFIX + b"*"] = calls.invoke
    for name in crypto.SUBTLE:
        routes[b"POST", crypto.SUBTLE_PREFIX + b"*/" + name] = crypto.subtle
    for prefix in http_configuration.PREFIXES:
        routes[b"GET", prefix + b"*"] = items.get
        routes[b"GET", prefix + b"*/subscribe"] = items.subscribe
        routes[b"GET", prefix + b"*/*/unsubscribe"] = items.unsubscribe
    return routes


def _answers_of_blocks(
    made: blocks.Blocks, measures: "Measures | None"
) -> tuple[dict[str, unary.Answer], dict[str, streaming.Answer]]:
    """Those of methods with one request and one answer, and those of streams."""
    documents, locks = grpc_crypto.CryptoApi(made.crypto), grpc_lock.LockApi(made.lock)
    items = grpc_configuration.ConfigurationApi(made.configuration, measures.errors if measures is not None else None)
    talks = grpc_conversation.ConversationApi(made.conversations)
    answers: dict[str, unary.Answer] = {
        **dict.fromkeys(grpc_crypto.SUBTLE, grpc_crypto.subtle),
        "InvokeBinding": grpc_bindings.BindingsApi(made.bindings, _gave(measures, "InvokeBinding")).invoke,
        "TryLockAlpha1": locks.lock,
        "UnlockAlpha1": locks.unlock,
        "ConverseAlpha1": talks.converse_alpha1,
        "ConverseAlpha2": talks.converse_alpha2,
        **grpc_jobs.JobsApi(made.jobs).answers(),
    }
    streams: dict[str, streaming.Answer] = {"EncryptAlpha1": documents.encrypt, "DecryptAlpha1": documents.decrypt}
    for suffix in ("", "Alpha1"):
        answers[f"GetConfiguration{suffix}"] = items.get
        answers[f"UnsubscribeConfiguration{suffix}"] = items.unsubscribe
        streams[f"SubscribeConfiguration{suffix}"] = items.subscribe
    return answers, streams


def _grpc_methods(parts: Parts, stop: Callable[[bool], None]) -> Handler:
    """What a call to the gRPC API passes."""
    settings, rules = parts.settings, parts.configuration
    largest = settings.max_body_size if settings.max_body_size > 0 else grpc_proxy.LARGEST
    measures = parts.measures
    description = grpc_metadata.MetadataApi(parts.metadata)
    secret = grpc_secrets.SecretsApi(parts.secrets)
    state_api = grpc_state.StateApi(parts.state)
    messages = grpc_pubsub.PublishApi(parts.publisher)
    answers: dict[str, unary.Answer] = {
        "InvokeService": grpc_invoke.InvokeApi(parts.invoker, _gave(measures, "InvokeService")).invoke_service,
        "GetMetadata": description.get,
        "SetMetadata": description.set,
        "Shutdown": grpc_shutdown.ShutdownApi(stop).shut_down,
        "GetSecret": secret.get,
        "GetBulkSecret": secret.get_bulk,
        "GetState": state_api.get,
        "GetBulkState": state_api.get_bulk,
        "SaveState": state_api.save,
        "DeleteState": state_api.delete,
        "DeleteBulkState": state_api.delete_bulk,
        "ExecuteStateTransaction": state_api.transact,
        "QueryStateAlpha1": state_api.query,
        "PublishEvent": messages.publish,
        "BulkPublishEvent": messages.publish_many("BulkPublishEvent"),
        "BulkPublishEventAlpha1": messages.publish_many("BulkPublishEventAlpha1"),
    }
    more, streams = _answers_of_blocks(parts.blocks, measures)
    answers |= {**_actor_answers(parts), **more}
    streams |= _streams_of_apps(parts)
    if rules.api_allowed or rules.api_denied:
        grpc_log.info("Enabled API access list on gRPC server")
    if settings.api_token:
        grpc_log.info("Enabled token authentication on gRPC server")
    lasting: dict[str, Method] = {name: streaming.Streaming(answer, largest) for name, answer in streams.items()}
    others: Method = grpc_proxy.ProxyApi(parts.proxy, largest, parts.invoker.policies).handle
    if measures is not None:
        from pydapr.api.grpc import measured

        grpc_log.info("Enabled gRPC metrics middleware")
        answers = {
            name: measured.answer(answer, measures.grpc.server.method(f"{grpc_router.SERVICE}/{name}"), measures.errors)
            for name, answer in answers.items()
        }
        others = measured.passing(others, measures.grpc, is_server=True)
    if parts.tracer is not None:
        from pydapr.api.grpc import traced

        grpc_log.info("Enabled gRPC tracing middleware")
        tracer = parts.tracer
        answers = {name: traced.answer(answer, name, tracer) for name, answer in answers.items()}
        lasting = {name: traced.stream(method, tracer) for name, method in lasting.items()}
        others = traced.passing(others, tracer, settings.app_id, echoes=True)
    return grpc_router.build(
        {**{name: unary.Unary(answer, largest) for name, answer in answers.items()}, **lasting},
        others,
        api_access.grpc(_rules(rules.api_allowed), _rules(rules.api_denied)),
        settings.api_token,
        _around(parts),
    )


def _actor_answers(parts: Parts) -> dict[str, unary.Answer]:
    if parts.actors is None:
        return dict.fromkeys(api_access.GRPC_METHODS["actors.v1"].split(), _no_actors_rpc)
    from pydapr.api.grpc import actors, reminders

    api = actors.ActorsApi(parts.actors.calls, parts.actors.state)
    return {
        "InvokeActor": api.invoke,
        "GetActorState": api.get_state,
        "ExecuteActorStateTransaction": api.transact,
        **reminders.RemindersApi(parts.actors.reminders, parts.actors.timers).answers(),
    }


def _streams_of_apps(parts: Parts) -> dict[str, streaming.Answer]:
    """Those on which an app is asked, instead of by its port."""
    return {
        "SubscribeTopicEventsAlpha1": _subscribe(parts.consumers),
        "SubscribeActorEventsAlpha1": _actor_stream(parts),
    }


def _actor_stream(parts: Parts) -> streaming.Answer:
    """Apps that host actors on streams."""
    if parts.actors is None:

        async def refuse(stream: Stream) -> None:
            raise ActorsNotPlaced

        return refuse
    from pydapr.api.grpc import actor_events

    runtime = parts.actors
    return actor_events.ActorEventsApi(runtime.streams, lambda: runtime.takes_streams, runtime.on_stream).subscribe


def _subscribe(consumers: "Consumers | None") -> streaming.Answer:
    """Streams of events; what is needed for them is loaded when somebody asks for one."""

    async def answer(stream: Stream) -> None:
        from pydapr.api.grpc import subscribe

        if consumers is None:
            await subscribe.without_brokers(stream)
        else:
            await subscribe.SubscribeApi(consumers.streams).subscribe(stream)

    return answer


def _logs_calls(parts: Parts) -> bool:
    given = parts.settings.enable_api_logging
    return parts.configuration.api_logging.enabled if given is None else given


def _around(parts: Parts) -> Callable[[grpc_server.Method], grpc_server.Method]:
    """What stands around each method of the gRPC API."""
    if not _logs_calls(parts):
        return lambda method: method
    from pydapr.api.grpc import calllog

    return calllog.logged


def _rules(rules: Iterable[configuration.ApiRule]) -> list[tuple[str, str, str]]:
    return [(rule.name, rule.version, rule.protocol) for rule in rules]


def _public(routes: dict[router.Route, Handler]) -> dict[router.Route, Handler]:
    return {route: handler for route, handler in routes.items() if route[1].startswith(PUBLIC)}


def _chain(parts: Parts, inner: router.Router) -> Handler:
    """What a request to the HTTP API passes, outermost last; what is off is not in it."""
    settings = parts.settings
    chain: Handler = inner
    if _logs_calls(parts):
        from pydapr.api.http import calllog

        calls = parts.configuration.api_logging
        chain = calllog.CallLog(chain, inner.route, calls.obfuscate_urls, calls.omit_health_checks)
    if parts.pipeline is not None:
        chain = _fresh(parts.pipeline(chain), settings.max_body_size)
    if settings.api_token:
        free = (b"/v1.0/healthz", b"/v1.0/healthz/outbound")
        chain = router.require_token(settings.api_token, free, chain)
    if settings.allowed_origins:
        http_log.info("Enabled CORS HTTP middleware")
        chain = cors.Cors(settings.allowed_origins, chain)
    chain = _traced(_measured(chain, parts.measures), parts.tracer)
    if settings.max_body_size > 0:
        http_log.info(f"Enabled max body size HTTP middleware with size {settings.max_body_size} bytes")
    return chain


def _traced(inner: Handler, tracer: "Tracer | None") -> Handler:
    """`inner`, whose requests are part of traces unless tracing is off."""
    if tracer is None:
        return inner
    from pydapr.api.http import traced

    http_log.info("Enabled tracing HTTP middleware")
    return traced.traced(inner, tracer)


def _measured(inner: Handler, measures: "Measures | None") -> Handler:
    """`inner`, whose requests are counted where there are metrics."""
    if measures is None:
        return inner
    http_log.info("Enabled metrics HTTP middleware")
    if isinstance(inner, router.Router):
        inner.metrics = measures.http
        return inner
    from pydapr.api.http import measured

    return measured.measured(inner, measures.http)


def _respond(measures: "Measures | None") -> errors.Respond:
    if measures is None or measures.errors is None:
        return errors.respond
    from pydapr.api.http import measured

    return measured.responder(measures.errors)


def _failed(measures: "Measures | None") -> Callable[[], None] | None:
    if measures is None or measures.errors is None:
        return None
    return functools.partial(measures.errors.answered, InvokeFailed("the app failed"))


def _gave(measures: "Measures | None", name: str) -> Callable[[int], None] | None:
    """What hears the sizes of the messages that a method replies with by itself."""
    return measures.grpc.server.method(f"{grpc_router.SERVICE}/{name}").gave if measures is not None else None


def _fresh(pipeline: Handler, max_body: int) -> Handler:
    """Gives middleware an exchange of its own, so that what it changes is seen behind it only.

    It can read `max_body` bytes of a body at most; that there are more is said by who stands behind.
    """
    from pydapr.net.body import TooLarge
    from pydapr.net.wrapped import Wrapped

    async def handle(exchange: Exchange) -> None:
        if max_body > 0:
            try:
                exchange.body.limit(max_body)
            except TooLarge as error:
                exchange.body.fail(error)
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
