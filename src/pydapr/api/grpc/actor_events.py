"""Actors that an app hosts over a stream, SubscribeActorEventsAlpha1. Called by the router.

Asks `blocks.actors.streams`. The app says first which types it has; then it is asked, and answers, in any order.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pydapr.api.grpc import unary
from pydapr.app.actor_stream import Connection
from pydapr.blocks.actors import Reentrancy, TypeOptions, config
from pydapr.blocks.actors.streams import Session, Streams
from pydapr.errors import Code, RpcError
from pydapr.lib import durations
from pydapr.net import tasks
from pydapr.net.grpc_stream import Stream
from pydapr.observe import logging
from pydapr.wire import actorstreams

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

    from pydapr.proto.dapr.proto.runtime.v1 import actors_pb2

log = logging.get("dapr.runtime.actors.callbackstream")


class ActorEventsApi:
    """Answers SubscribeActorEventsAlpha1. `is_allowed` says whether apps may host so, `options` how the types of one
    are hosted; it raises `config.Wrong`."""

    def __init__(
        self,
        streams: Streams,
        is_allowed: Callable[[], bool],
        options: Callable[[config.AppConfig], Mapping[str, TypeOptions]],
    ) -> None:
        self._streams, self._is_allowed, self._options = streams, is_allowed, options

    async def subscribe(self, stream: Stream) -> None:
        """Hosts what the app has, until it has no more to say, or the sidecar stops."""
        if not self._is_allowed():
            text = "actor callback streaming requires a gRPC app channel"
            raise RpcError(Code.FAILED_PRECONDITION, text)
        with self._streams.session() as session:
            reading = asyncio.create_task(self._converse(stream, session))
            sending = asyncio.create_task(_send_all(stream, session.connection))
            ends = (reading, sending, session.over)
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await tasks.stop((reading, sending))
                await self._streams.close(session)
            for task in (reading, sending):
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error

    async def _converse(self, stream: Stream, session: Session) -> None:
        first = await stream.next()
        if first is None:
            raise RpcError(Code.UNKNOWN, "EOF")
        try:
            types = self._options(_wanted(first))
        except config.Wrong as error:
            raise RpcError(Code.INTERNAL, f"failed to register hosted actors: {error}") from None
        self._streams.host(session, types)
        session.connection.greet(actorstreams.GREETING)
        answered = session.connection.answered
        while True:
            data = await stream.next()
            if data is None:
                return
            try:
                reply = actorstreams.reply(data)
            except actorstreams.Invalid:
                text = "grpc: failed to unmarshal the received message: proto: cannot parse invalid wire-format data"
                raise RpcError(Code.INTERNAL, text) from None
            if reply is None or not reply.id:
                log.warning("Dropping actor callback response without correlation id")
            else:
                answered(reply)


async def _send_all(stream: Stream, connection: Connection) -> None:
    while True:
        await stream.send(await connection.outgoing())


def _wanted(data: bytes) -> config.AppConfig:
    """What the app has said first. Raises `RpcError`."""
    from pydapr.proto.dapr.proto.runtime.v1 import actors_pb2

    request = unary.decode(actors_pb2.SubscribeActorEventsRequestAlpha1, data)
    if request.WhichOneof("request_type") != "initial_request":
        raise RpcError(Code.INVALID_ARGUMENT, "first message must be SubscribeActorEventsRequestInitialAlpha1")
    initial = request.initial_request
    return config.AppConfig(_entities(initial), tuple(_entities(one) for one in initial.entities_config))


def _entities(
    given: "actors_pb2.SubscribeActorEventsRequestInitialAlpha1 | actors_pb2.ActorEntityConfig",
) -> config.Entities:
    again = given.reentrancy
    depth = again.max_stack_depth if again.HasField("max_stack_depth") else config.STACK_DEPTH
    return config.Entities(
        tuple(given.entities),
        _duration(given.actor_idle_timeout) if given.HasField("actor_idle_timeout") else "",
        _duration(given.drain_ongoing_call_timeout) if given.HasField("drain_ongoing_call_timeout") else "",
        given.drain_rebalanced_actors if given.HasField("drain_rebalanced_actors") else None,
        Reentrancy(again.enabled, depth),
    )


def _duration(given: "Duration") -> str:
    return durations.nanoseconds_text(given.ToNanoseconds())
