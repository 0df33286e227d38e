"""Pluggable secret stores. Found by `components.drivers.pluggable`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from pydapr.components.drivers import pluggable
from pydapr.components.secretstores import SecretStore, SecretStoreError
from pydapr.errors import RpcError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    M = TypeVar("M", bound=Message)

SERVICE = "SecretStore"


class Pluggable(pluggable.Plugged, SecretStore):
    """A secret store in a process of its own."""

    def __init__(self, link: pluggable.Link, given: pluggable.Options) -> None:
        self._link, self._properties = link, dict(given.properties)

    async def get(self, name: str, metadata: Mapping[str, str]) -> Mapping[str, str]:
        from pydapr.proto.dapr.proto.components.v1 import secretstore_pb2 as messages

        request = messages.GetSecretRequest(key=name, metadata=metadata)
        return dict((await self._call("Get", request, messages.GetSecretResponse)).data)

    async def get_bulk(self, metadata: Mapping[str, str]) -> Mapping[str, Mapping[str, str]]:
        from pydapr.proto.dapr.proto.components.v1 import secretstore_pb2 as messages

        request = messages.BulkGetSecretRequest(metadata=metadata)
        answer = await self._call("BulkGet", request, messages.BulkGetSecretResponse)
        return {name: dict(values.secrets) for name, values in answer.data.items()}

    async def _call(self, method: str, request: "Message", answer: "type[M]") -> "M":
        try:
            return await self._link.call(SERVICE, method, request, answer)
        except RpcError as error:
            raise SecretStoreError(str(error)) from None

    async def _begin(self) -> None:
        from pydapr.proto.dapr.proto.components.v1 import common_pb2
        from pydapr.proto.dapr.proto.components.v1 import secretstore_pb2 as messages

        about = common_pb2.MetadataRequest(properties=self._properties)
        request = messages.SecretStoreInitRequest(metadata=about)
        await self._link.bare(SERVICE, "Init", request, messages.SecretStoreInitResponse)
        wanted = common_pb2.FeaturesRequest()
        self.features = tuple(
            (await self._link.bare(SERVICE, "Features", wanted, common_pb2.FeaturesResponse)).features
        )
