"""The metadata API over gRPC. Called by the router; asks `blocks.metadata`."""

from typing import Any

from pydapr.api.grpc import unary
from pydapr.blocks.metadata import Metadata
from pydapr.net.http2_server import ServerExchange


class MetadataApi:
    """Answers GetMetadata and SetMetadata."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    async def get(self, exchange: ServerExchange, data: bytes) -> bytes:
        """The whole description; its JSON form is protobuf's, so it is read from there."""
        from google.protobuf import json_format

        from pydapr.proto.dapr.proto.runtime.v1 import metadata_pb2

        unary.decode(metadata_pb2.GetMetadataRequest, data)
        answer = metadata_pb2.GetMetadataResponse()
        document = self._metadata.document()
        document["subscriptions"] = [_subscription(one) for one in document.get("subscriptions", ())]
        json_format.ParseDict(document, answer, ignore_unknown_fields=True)
        return answer.SerializeToString()

    async def set(self, exchange: ServerExchange, data: bytes) -> bytes:
        """Attaches an attribute; one without a name is passed over."""
        from pydapr.proto.dapr.proto.runtime.v1 import metadata_pb2

        request = unary.decode(metadata_pb2.SetMetadataRequest, data)
        if request.key:
            self._metadata.attach(request.key, request.value)
        return b""


def _subscription(shown: dict[str, Any]) -> dict[str, Any]:
    """A subscription as protobuf has it, with a message around the rules."""
    return {**shown, "rules": {"rules": shown.get("rules", [])}}
