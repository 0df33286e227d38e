"""The conversation API over gRPC. Called by the router; asks `blocks.conversation` by way of `api.conversation`."""

from pydapr.api import conversation
from pydapr.api.grpc import unary
from pydapr.blocks.conversation import Conversations
from pydapr.net.http2_server import ServerExchange


class ConversationApi:
    """Answers ConverseAlpha1 and ConverseAlpha2."""

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations

    async def converse_alpha1(self, exchange: ServerExchange, data: bytes) -> bytes:
        """Plain text in and out."""
        from pydapr.proto.dapr.proto.runtime.v1 import ai_pb2

        asked = unary.decode(ai_pb2.ConversationRequest, data)
        return (await conversation.converse_alpha1(self._conversations, asked)).SerializeToString()

    async def converse_alpha2(self, exchange: ServerExchange, data: bytes) -> bytes:
        """Messages of all kinds in, choices out."""
        from pydapr.proto.dapr.proto.runtime.v1 import ai_pb2

        asked = unary.decode(ai_pb2.ConversationRequestAlpha2, data)
        return (await conversation.converse_alpha2(self._conversations, asked)).SerializeToString()
