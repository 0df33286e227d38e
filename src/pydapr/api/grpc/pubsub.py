"""The publish API over gRPC. Called by the router; asks `blocks.pubsub.publish`."""

from collections.abc import Awaitable, Callable

from pydapr.api.grpc import unary
from pydapr.blocks.pubsub.publish import Publisher
from pydapr.components.pubsub import NO_METADATA, Entry, Message
from pydapr.net.http2_server import ServerExchange

_NOTHING = b""
"""google.protobuf.Empty, and a BulkPublishResponse without failures."""


class PublishApi:
    """Answers PublishEvent, BulkPublishEvent and its alpha form."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def publish(self, exchange: ServerExchange, data: bytes) -> bytes:
        """One event."""
        from pydapr.proto.dapr.proto.runtime.v1 import pubsub_pb2

        asked = unary.decode(pubsub_pb2.PublishEventRequest, data)
        metadata = dict(asked.metadata) or NO_METADATA
        line = self._publisher.line(asked.pubsub_name, asked.topic, metadata)
        await self._publisher.publish(
            line, asked.topic, asked.data, asked.data_content_type, metadata, exchange.trace, is_http=False
        )
        return _NOTHING

    def publish_many(self, method: str) -> Callable[[ServerExchange, bytes], Awaitable[bytes]]:
        """Many events of one topic: either all are published, or the answer is an error."""

        async def answer(exchange: ServerExchange, data: bytes) -> bytes:
            from pydapr.proto.dapr.proto.runtime.v1 import pubsub_pb2

            asked = unary.decode(pubsub_pb2.BulkPublishRequest, data)
            metadata = dict(asked.metadata)
            line = self._publisher.line(asked.pubsub_name, asked.topic, metadata)
            # As in the original, an event without metadata of its own does not have those of the request either.
            events = [
                Entry(
                    one.entry_id,
                    Message(
                        asked.topic,
                        one.event,
                        {**metadata, **one.metadata} if one.metadata else NO_METADATA,
                        one.content_type,
                    ),
                )
                for one in asked.entries
            ]
            span = f"/dapr.proto.runtime.v1.Dapr/{method}/"
            await self._publisher.publish_many(
                line, asked.topic, events, metadata, exchange.trace, span=span, is_http=False
            )
            return _NOTHING

        return answer
