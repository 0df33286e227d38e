"""The conversation API over HTTP. Called by the router; asks `blocks.conversation` by way of `api.conversation`."""

from pydapr.api import conversation
from pydapr.api.http import protojson
from pydapr.blocks.conversation import Conversations
from pydapr.lib import urls
from pydapr.net.exchange import Exchange

ALPHA1_PREFIX, ALPHA2_PREFIX = b"/v1.0-alpha1/conversation/", b"/v1.0-alpha2/conversation/"


class ConversationApi:
    """Answers POST of `/v1.0-alpha1/conversation/<name>/converse`, and of `alpha2`."""

    def __init__(self, conversations: Conversations, max_body: int) -> None:
        self._conversations = conversations
        self._max_body = max_body

    async def converse_alpha1(self, exchange: Exchange) -> None:
        """Plain text in and out."""
        _know_parameters()
        from pydapr.proto.dapr.proto.runtime.v1 import ai_pb2

        asked = await protojson.read(exchange, ai_pb2.ConversationRequest(), self._max_body)
        asked.name = urls.segments(exchange.target, ALPHA1_PREFIX)[0]
        protojson.respond(exchange, await conversation.converse_alpha1(self._conversations, asked))

    async def converse_alpha2(self, exchange: Exchange) -> None:
        """Messages of all kinds in, choices out."""
        _know_parameters()
        from pydapr.proto.dapr.proto.runtime.v1 import ai_pb2

        asked = await protojson.read(exchange, ai_pb2.ConversationRequestAlpha2(), self._max_body)
        asked.name = urls.segments(exchange.target, ALPHA2_PREFIX)[0]
        protojson.respond(exchange, await conversation.converse_alpha2(self._conversations, asked))


def _know_parameters() -> None:
    """Parameters are of any type that is known: protobuf's own besides ours."""
    from google.protobuf import (  # noqa: F401
        duration_pb2,
        empty_pb2,
        field_mask_pb2,
        struct_pb2,
        timestamp_pb2,
        wrappers_pb2,
    )
