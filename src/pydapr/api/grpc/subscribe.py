"""Subscriptions over a stream, SubscribeTopicEventsAlpha1. Called by the router; asks `blocks.pubsub.streams`.

The client says first what it wants, and then of each event what became of it; both in any order, and at any time.
"""

import asyncio

from pydapr.blocks.pubsub import errors
from pydapr.blocks.pubsub.streams import NotOpened, Session, Streams
from pydapr.errors import Code, RpcError
from pydapr.net import tasks
from pydapr.net.grpc_stream import Stream
from pydapr.observe import logging
from pydapr.wire import topicstreams

log = logging.get("dapr.runtime.pubsub.streamer")


class SubscribeApi:
    """Answers SubscribeTopicEventsAlpha1. As with the original, a stream always ends with an error."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def subscribe(self, stream: Stream) -> None:
        """Events, until the client has no more to say, or the sidecar stops."""
        with self._streams.session() as session:
            reading = asyncio.create_task(self._converse(stream, session))
            try:
                await asyncio.wait((reading, session.over), return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    raise _ended(reading.exception())
                raise RpcError(Code.UNKNOWN, session.over.result())
            finally:
                await tasks.stop((reading,))
                await self._streams.close(session)

    async def _converse(self, stream: Stream, session: Session) -> None:
        wanted = await _wanted(stream)
        sending = asyncio.Lock()  # a message of several frames is not to be mixed with another

        async def send(event: bytes) -> None:
            async with sending:
                await stream.send(topicstreams.event(event))

        async with sending:
            try:
                client = await self._streams.open(
                    session, wanted.pubsub, wanted.topic, wanted.metadata, wanted.dead_letter, send
                )
            except NotOpened as error:
                raise RpcError(Code.UNKNOWN, str(error)) from None
            await stream.send(topicstreams.GREETING)
        while True:
            try:
                said = await _next(stream)
            except RpcError as error:
                _tell_end(wanted, error)
                raise
            if not isinstance(said, topicstreams.Processed):
                raise RpcError(Code.UNKNOWN, "duplicate initial request received")
            client.processed(said.id, said.status)


WORD_SECONDS = 2.0
"""How long a client may take to say what it wants where it can have nothing: the end of the sidecar waits for it."""


async def without_brokers(stream: Stream) -> None:
    """Answers where there is no broker at all."""
    try:
        async with asyncio.timeout(WORD_SECONDS):
            wanted = await _wanted(stream)
    except TimeoutError:
        raise RpcError(Code.UNKNOWN, "initial request is required") from None
    raise errors.PubSubNotFound(wanted.pubsub, {})


async def _wanted(stream: Stream) -> topicstreams.Initial:
    """The first request. Raises `RpcError`."""
    wanted = await _next(stream)
    if not isinstance(wanted, topicstreams.Initial):
        raise RpcError(Code.UNKNOWN, "initial request is required")
    if not wanted.pubsub:
        raise RpcError(Code.UNKNOWN, "pubsubName is required")
    if not wanted.topic:
        raise RpcError(Code.UNKNOWN, "topic is required")
    return wanted


async def _next(stream: Stream) -> topicstreams.Initial | topicstreams.Processed | None:
    """What the client says next. Raises `RpcError`, also when it has no more to say."""
    data = await stream.next()
    if data is None:
        raise RpcError(Code.UNKNOWN, "EOF")
    try:
        return topicstreams.request(data)
    except topicstreams.Invalid:
        text = "grpc: failed to unmarshal the received message: proto: cannot parse invalid wire-format data"
        raise RpcError(Code.INTERNAL, text) from None


def _tell_end(wanted: topicstreams.Initial, error: RpcError) -> None:
    if error.message == "EOF" or error.code == Code.CANCELLED:
        log.info(f"Unsubscribed from pubsub '{wanted.pubsub}' topic '{wanted.topic}'")
    else:
        log.error(f"Error receiving message from client stream: {error}")


def _ended(error: BaseException | None) -> BaseException:
    assert error is not None, "a conversation ends by an error"
    return error
