"""What the app is subscribed to, and when its messages come: begun when the app is there, ended when it is not.

Made by `daprd.runtime`; asks the app, and starts a `blocks.pubsub.deliver.Delivery` for each topic. What delivers is
imported with the first: many an app has a broker and no subscription, and that is a tenth of its start. The order
of things and the words of the log are the original's (v1.18.3, `pkg/runtime/processor/subscriber/subscriber.go`).
"""

import asyncio
import functools
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydapr.app.channel import AppChannel, AppUnreachable, Call
from pydapr.app.grpc import GrpcChannel, Turns
from pydapr.app.health import Guarded
from pydapr.blocks.pubsub import Broker, routing, subscriptions
from pydapr.blocks.pubsub.subscriptions import DECLARATIVE, Bulk, Subscribed
from pydapr.components import pubsub
from pydapr.components.pubsub import PubSubError
from pydapr.errors import Code, RpcError
from pydapr.net import tasks
from pydapr.net.body import Body, BodyError
from pydapr.observe import logging
from pydapr.policy import built_in, retry
from pydapr.policy.resiliency import Definition
from pydapr.policy.runner import Runner
from pydapr.resources import subscription as resource

if TYPE_CHECKING:
    from pydapr.app.grpc import GrpcApp
    from pydapr.blocks.pubsub.bulk import BulkTarget
    from pydapr.blocks.pubsub.deliver import Around, Delivery, Target
    from pydapr.blocks.pubsub.streams import Streams
    from pydapr.daprd import flags
    from pydapr.daprd.measures import Measures
    from pydapr.observe.tracing import Tracer
    from pydapr.policy.resiliency import Resiliency

log = logging.get("dapr.runtime.processor.subscription")
runtime_log = logging.get("dapr.runtime")

AGAIN = retry.Retry(is_exponential=True, max_elapsed=0.0)
"""When a subscription is tried again that could not be started."""

ASK_SECONDS = 60.0
"""How long the app may take to say what it is subscribed to."""

_UNREACHED = (AppUnreachable, RpcError, BodyError)


class Unusable(Exception):
    """A resource describes a subscription that cannot be. The message says which, and why."""


class _NotStarted(Exception):
    """A subscription could not be started; `is_final` when it never will be. The message is the reason."""

    def __init__(self, reason: str, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final


def declared(resources: Iterable[resource.Subscription]) -> Sequence[Subscribed]:
    """The subscriptions of resources; of several of one name the last counts. Raises `Unusable`."""
    found: dict[str, Subscribed] = {}
    for one in resources:
        try:
            wanted = _of_resource(one)
        except routing.Invalid as error:
            raise Unusable(f"Subscription {one.name}: {error}") from None
        found.pop(one.name, None)
        found[one.name] = wanted
    return list(found.values())


def _of_resource(given: resource.Subscription) -> Subscribed:
    rules = [routing.rule(rule.match, rule.path) for rule in given.rules]
    if given.default:
        rules.append(routing.Rule(given.default))
    bulk = given.bulk_subscribe
    return Subscribed(
        given.pubsubname,
        given.topic,
        tuple(rules),
        given.metadata,
        given.dead_letter_topic,
        Bulk(bulk.max_messages_count, bulk.max_await_duration_ms) if bulk.enabled else None,
        DECLARATIVE,
        given.name,
    )


class App:
    """The app as it is asked, and as it takes events."""

    def __init__(
        self,
        settings: "flags.Settings",
        channel: Callable[[], AppChannel | None],
        rpc: "GrpcApp",
        policies: "Resiliency | None",
    ) -> None:
        self._app_id = settings.app_id
        self._is_rpc = settings.app_protocol in ("grpc", "grpcs")
        self._is_asked = "subscribe" not in settings.disable_init_endpoints
        self._channel, self._rpc = channel, rpc
        again = policies.retries if policies is not None else built_in.RETRIES
        self._retry = again[built_in.INITIALIZATION]

    def target(self, measures: "Measures | None", tracer: "Tracer | None") -> "Target":
        """Who takes the events."""
        metrics = measures.ingress if measures is not None else None
        if not self._is_rpc:
            from pydapr.blocks.pubsub.to_http import HttpTarget

            return HttpTarget(self._channel, metrics, tracer)
        from pydapr.blocks.pubsub.to_grpc import GrpcTarget

        return GrpcTarget(self._rpc, metrics, tracer, self._turns())

    def bulk_target(self, tracer: "Tracer | None") -> "BulkTarget":
        """Who takes many events at once."""
        if not self._is_rpc:
            from pydapr.blocks.pubsub.bulk_http import BulkHttpTarget

            return BulkHttpTarget(self._channel, tracer)
        from pydapr.blocks.pubsub.bulk_grpc import BulkGrpcTarget

        return BulkGrpcTarget(self._rpc, tracer, self._turns())

    def _turns(self) -> Turns | None:
        """What bounds the calls of an app that speaks gRPC."""
        channel = self._channel()
        while isinstance(channel, Guarded):
            channel = channel.inner
        return channel.turns if isinstance(channel, GrpcChannel) else None

    async def subscriptions(self) -> list[Subscribed]:
        """What the app says it is subscribed to. Raises `subscriptions.Invalid`, `routing.Invalid`, and
        `_UNREACHED`."""
        if not self._is_asked:
            log.warning("Skipping programmatic subscription loading (see 'disable-init-endpoints' flag/annotation)")
            return []
        definition = Definition(built_in.INITIALIZATION, retry=self._retry)
        ask = self._ask_rpc if self._is_rpc else self._ask_http
        found = await Runner(*_UNREACHED).run(definition, ask, lambda: True)
        kept = []
        for one in found:
            if one.rules:
                kept.append(one)
            else:
                log.warning(f"topic {one.topic} has an empty routes. removing from subscriptions list")
        return kept

    async def _ask_http(self) -> list[Subscribed]:
        channel = self._channel()
        if channel is None:
            return []
        headers = ((b"content-type", b"application/json"), (b"dapr-app-id", self._app_id.encode()))
        try:
            async with asyncio.timeout(ASK_SECONDS):
                answer = await channel.invoke(Call(b"GET", "dapr/subscribe", b"", headers, Body.of(b"")))
                try:
                    body = await answer.body.read_all()
                finally:
                    answer.close()
        except TimeoutError:
            raise AppUnreachable(f"no answer to GET dapr/subscribe within {ASK_SECONDS:.0f}s") from None
        if answer.status == 200:
            from pydapr.blocks.pubsub import answers

            return answers.from_http(body)
        if answer.status == 404:
            log.debug("user app did not subscribe to any topic")
        else:
            log.error(f"app returned http status code {answer.status} from subscription endpoint")
        return []

    async def _ask_rpc(self) -> list[Subscribed]:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                message = await self._rpc.callback(b"ListTopicSubscriptions", b"")
        except TimeoutError:
            raise AppUnreachable(f"no answer to ListTopicSubscriptions within {ASK_SECONDS:.0f}s") from None
        except RpcError as error:
            if error.code != Code.UNIMPLEMENTED:
                raise
            log.info("pubsub subscriptions: gRPC app does not implement ListTopicSubscriptions")
            return []
        from pydapr.blocks.pubsub import answers

        return answers.from_grpc(message)


class _Running:
    """A subscription whose messages come."""

    def __init__(self, delivery: "Delivery", inner: pubsub.Subscription) -> None:
        self._delivery, self._inner = delivery, inner

    async def close(self) -> None:
        await self._delivery.close(self._inner)


class Subscriptions:
    """A `triggers.Source`: all subscriptions of the app."""

    def __init__(
        self,
        brokers: Mapping[str, Broker],
        declarative: Sequence[Subscribed],
        app: App,
        target: "Callable[[], Target]",
        around: "Callable[[], Around]",
        tracer: "Tracer | None" = None,
        again: retry.Retry = AGAIN,
    ) -> None:
        """`target` and `around` are asked when there is something to deliver, each time for the same."""
        self._brokers, self._declarative, self._again = brokers, declarative, again
        self._app, self._target, self._around, self._tracer = app, target, around, tracer
        self._bulk_target: BulkTarget | None = None
        self._programmatic: Sequence[Subscribed] | None = None
        self._is_active = False
        self._beginning: asyncio.Task[None] | None = None
        self._retries: set[asyncio.Task[None]] = set()
        self._running: list[_Running] = []

    def subscribed(self) -> Sequence[Subscribed]:
        """What the app is subscribed to, as far as that is known."""
        return subscriptions.merged(self._declarative, self._programmatic or ())

    async def begin(self) -> None:
        if self._is_active:
            return
        self._is_active = True
        self._beginning = beginning = asyncio.create_task(self._begin())
        await asyncio.wait((beginning,))
        if not beginning.cancelled() and (fault := beginning.exception()) is not None:
            runtime_log.error(f"failed to subscribe to topics: {fault!r}")

    async def pause(self) -> None:
        self._is_active = False
        await tasks.stop((self._beginning, *self._retries))
        running, self._running = self._running, []
        await asyncio.gather(*(one.close() for one in running))

    async def _begin(self) -> None:
        if self._programmatic is None:
            try:
                self._programmatic = await self._app.subscriptions()
                _tell(self._programmatic)
            except (subscriptions.Invalid, routing.Invalid, *_UNREACHED) as error:
                # What resources say holds all the same, and the app is asked again when it is healthy again.
                runtime_log.warning(f"failed to subscribe to topics: {error}")
        wanted = self.subscribed()
        for one in wanted:
            if one.pubsub not in self._brokers:
                log.warning(f"subscription to topic {one.topic}: there is no pubsub component {one.pubsub}")
        by_broker = [[one for one in wanted if one.pubsub == name] for name in self._brokers]
        faults = [fault for found in await asyncio.gather(*map(self._start_all, by_broker)) for fault in found]
        if faults:
            runtime_log.warning(f"failed to subscribe to topics: {chr(10).join(faults)}")

    async def _start_all(self, wanted: Sequence[Subscribed]) -> list[str]:
        """Starts the subscriptions of one broker, one after the other; the reasons why some could not be."""
        faults = []
        for one in wanted:
            try:
                await self._start(one)
            except _NotStarted as fault:
                log.error(f"Failed to start subscription for pubsub {one.pubsub}, topic {one.topic}: {fault}")
                faults.append(str(fault))
                if not fault.is_final:
                    task = asyncio.create_task(self._retry(one))
                    self._retries.add(task)
                    task.add_done_callback(self._retries.discard)
        return faults

    async def _retry(self, wanted: Subscribed) -> None:
        clock = asyncio.get_running_loop().time
        schedule = retry.Schedule(self._again, clock())
        what = f"pubsub {wanted.pubsub}, topic {wanted.topic}"
        while (pause := schedule.after_failure(clock(), random.random())) is not None:
            await asyncio.sleep(pause)
            try:
                await self._start(wanted)
            except _NotStarted as fault:
                log.error(f"Retry failed for subscription {what}: {fault}. Will retry.")
            else:
                log.info(f"Successfully started subscription after retry for {what}")
                return

    async def _start(self, wanted: Subscribed) -> None:
        """Has the messages of a subscription come. Raises `_NotStarted`."""
        broker = self._brokers[wanted.pubsub]
        if not broker.scopes.can_subscribe(wanted.topic):
            reason = f"subscription to topic '{wanted.topic}' on pubsub '{wanted.pubsub}' is not allowed"
            raise _NotStarted(reason, is_final=True)
        subscribe = self._subscribe if wanted.bulk is None else self._subscribe_bulk
        try:
            self._running.append(await subscribe(broker, wanted, asyncio.get_running_loop().time()))
        except Exception as error:  # a component's fault must not keep the other subscriptions from starting
            reason = broker.pubsub.scrub(str(error) if isinstance(error, PubSubError) else repr(error))
            what = "subscribe" if wanted.bulk is None else "bulk subscribe"
            raise _NotStarted(f"failed to {what} to topic {wanted.topic}: {reason}") from None

    async def _subscribe(self, broker: Broker, wanted: Subscribed, now: float) -> _Running:
        """Raises `PubSubError`."""
        from pydapr.blocks.pubsub.deliver import Delivery

        delivery = Delivery(broker, wanted, self._target(), self._around(), now)
        topic = broker.topic(wanted.topic)
        return _Running(delivery, await broker.pubsub.subscribe(topic, wanted.metadata, delivery.deliver))

    async def _subscribe_bulk(self, broker: Broker, wanted: Subscribed, now: float) -> _Running:
        """Raises `PubSubError`."""
        from pydapr.blocks.pubsub import bulk

        if self._bulk_target is None:
            self._bulk_target = self._app.bulk_target(self._tracer)
        delivery = bulk.BulkDelivery(broker, wanted, self._bulk_target, self._around(), now)
        return _Running(delivery, await delivery.subscribe(broker))


def _tell(found: Sequence[Subscribed]) -> None:
    topics: dict[str, list[str]] = {}
    for one in found:
        topics.setdefault(one.pubsub, []).append(one.topic)
    for name, listed in topics.items():
        log.info(f"app is subscribed to the following topics: [[{' '.join(listed)}]] through pubsub={name}")


class Consumers:
    """All that takes messages from brokers: the app, and streams that clients of the API open."""

    def __init__(
        self,
        settings: "flags.Settings",
        brokers: Mapping[str, Broker],
        resources: Iterable[resource.Subscription],
        channel: Callable[[], AppChannel | None],
        rpc: "GrpcApp",
        policies: "Resiliency | None",
        around: "Callable[[], Around]",
        measures: "Measures | None",
        tracer: "Tracer | None",
    ) -> None:
        """Raises `Unusable`."""
        declarative = declared(resources)
        self._brokers, self._around, self._tracer = brokers, functools.cache(around), tracer
        self._streams: Streams | None = None
        self._is_over = False
        self.source: Subscriptions | None = None
        self._declarative: Sequence[Subscribed] = declarative
        if settings.app_port:
            app = App(settings, channel, rpc, policies)
            target = functools.cache(lambda: app.target(measures, tracer))
            self.source = Subscriptions(brokers, declarative, app, target, self._around, tracer)

    @property
    def streams(self) -> "Streams":
        """Those that clients of the API open: made for the first."""
        if self._streams is None:
            from pydapr.blocks.pubsub.streams import Streams

            self._streams = Streams(self._brokers, self._around(), self._tracer, self._is_over)
        return self._streams

    async def end_streams(self) -> None:
        """The sidecar stops: see `Streams.end`."""
        self._is_over = True
        if self._streams is not None:
            await self._streams.end()

    def documents(self) -> list[dict[str, Any]]:
        """All subscriptions as the metadata API shows them."""
        found = self.source.subscribed() if self.source is not None else subscriptions.merged(self._declarative, ())
        streaming = self._streams.subscribed() if self._streams is not None else ()
        return [one.document() for one in (*found, *streaming)]
