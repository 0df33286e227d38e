"""A message broker of ours behind a socket. See `serving`."""

import asyncio
from typing import Any

from pydapr.api.pluggable.serving import MAX_MESSAGE, Answers, Gone, Services, decode, reading
from pydapr.components.pubsub import Entry, Message, NotProcessed, PubSub, PubSubError
from pydapr.errors import Code, RpcError
from pydapr.net import grpc_server
from pydapr.net.grpc_stream import Stream
from pydapr.net.http2_server import ServerExchange
from pydapr.proto.dapr.proto.components.v1 import pubsub_pb2 as messages

SERVICE = "PubSub"


class _Broker:
    """What the service does."""

    def __init__(self, services: Services) -> None:
        self._parts = services.parts
        self._paused: dict[PubSub, asyncio.Event] = {}
        """Brokers that hold back, until the event."""

    def _broker(self, exchange: ServerExchange) -> PubSub:
        part = self._parts.part(exchange)
        assert isinstance(part, PubSub)
        return part

    async def publish(self, exchange: ServerExchange, request: messages.PublishRequest) -> messages.PublishResponse:
        message = Message(request.topic, request.data, dict(request.metadata), request.content_type)
        try:
            await self._broker(exchange).publish(message)
        except PubSubError as error:
            raise RpcError(error.code, str(error)) from None
        return messages.PublishResponse()

    async def publish_many(
        self, exchange: ServerExchange, request: messages.BulkPublishRequest
    ) -> messages.BulkPublishResponse:
        entries = [
            Entry(one.entry_id, Message(request.topic, one.event, dict(one.metadata), one.content_type))
            for one in request.entries
        ]
        try:
            failed = await self._broker(exchange).publish_many(request.topic, entries, dict(request.metadata))
        except PubSubError as error:
            raise RpcError(error.code, str(error)) from None
        listed = [messages.BulkPublishResponseFailedEntry(entry_id=id_, error=text) for id_, text in failed.items()]
        return messages.BulkPublishResponse(failed_entries=listed)

    async def pull(self, exchange: ServerExchange) -> None:
        """Messages of a topic, until the client ends the stream; what it has not answered then goes back."""
        broker, stream, answers = self._broker(exchange), Stream(exchange, MAX_MESSAGE), Answers()
        first = await stream.next()
        wanted = decode(messages.PullMessagesRequest, first or b"").topic
        if not wanted.name:
            raise RpcError(Code.INVALID_ARGUMENT, "the first message of the stream must name a topic")

        async def deliver(message: Message) -> None:
            paused = self._paused.get(broker)
            if paused is not None:
                await paused.wait()

            async def send(id_: str) -> None:
                response = messages.PullMessagesResponse(
                    data=message.data,
                    topic_name=message.topic,
                    metadata=message.metadata,
                    content_type=message.content_type,
                    id=id_,
                )
                await stream.send(response.SerializeToString())

            try:
                reason = await answers.ask(send)
            except Gone:
                raise NotProcessed("the stream has ended") from None
            if reason is not None:
                raise NotProcessed(reason)

        def take(data: bytes) -> None:
            got = decode(messages.PullMessagesRequest, data)
            answers.answer(got.ack_message_id, got.ack_error.message if got.HasField("ack_error") else None)

        self._go_on(broker)  # whoever begins wants what comes
        try:
            subscription = await broker.subscribe(wanted.name, dict(wanted.metadata), deliver)
        except PubSubError as error:
            raise RpcError(error.code, str(error)) from None
        stream.begin()
        try:
            await reading(self._parts, stream, take)
        finally:
            answers.end()
            self._go_on(broker)  # who paused it is gone, and those who wait find that out
            await subscription.close()
        stream.finish()

    async def pause(self, exchange: ServerExchange, request: messages.PauseRequest) -> messages.PauseResponse:
        self._paused.setdefault(self._broker(exchange), asyncio.Event())
        return messages.PauseResponse()

    async def resume(self, exchange: ServerExchange, request: messages.ResumeRequest) -> messages.ResumeResponse:
        self._go_on(self._broker(exchange))
        return messages.ResumeResponse()

    def _go_on(self, broker: PubSub) -> None:
        paused = self._paused.pop(broker, None)
        if paused is not None:
            paused.set()


def add(services: Services) -> None:
    """The methods of the kind."""
    broker = _Broker(services)
    pull: grpc_server.Method | Any = broker.pull
    services.beginning(SERVICE, messages.PubSubInitRequest, messages.PubSubInitResponse)
    services.featured(SERVICE)
    services.unary(SERVICE, "Publish", messages.PublishRequest, broker.publish)
    services.unary(SERVICE, "BulkPublish", messages.BulkPublishRequest, broker.publish_many)
    services.unary(SERVICE, "Pause", messages.PauseRequest, broker.pause)
    services.unary(SERVICE, "Resume", messages.ResumeRequest, broker.resume)
    services.add(SERVICE, "PullMessages", pull)
