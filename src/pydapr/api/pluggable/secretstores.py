"""A secret store of ours behind a socket. See `serving`."""

from pydapr.api.pluggable.serving import Services
from pydapr.components.secretstores import SecretStore, SecretStoreError
from pydapr.errors import Code, RpcError
from pydapr.net.http2_server import ServerExchange
from pydapr.proto.dapr.proto.components.v1 import secretstore_pb2 as messages

SERVICE = "SecretStore"


def add(services: Services) -> None:
    """The methods of the kind."""

    def store(exchange: ServerExchange) -> SecretStore:
        part = services.parts.part(exchange)
        assert isinstance(part, SecretStore)
        return part

    async def get(exchange: ServerExchange, request: messages.GetSecretRequest) -> messages.GetSecretResponse:
        try:
            found = await store(exchange).get(request.key, dict(request.metadata))
        except SecretStoreError as error:
            raise RpcError(Code.UNKNOWN, str(error)) from None
        return messages.GetSecretResponse(data=found)

    async def get_bulk(
        exchange: ServerExchange, request: messages.BulkGetSecretRequest
    ) -> messages.BulkGetSecretResponse:
        try:
            found = await store(exchange).get_bulk(dict(request.metadata))
        except SecretStoreError as error:
            raise RpcError(Code.UNKNOWN, str(error)) from None
        data = {name: messages.SecretResponse(secrets=values) for name, values in found.items()}
        return messages.BulkGetSecretResponse(data=data)

    services.beginning(SERVICE, messages.SecretStoreInitRequest, messages.SecretStoreInitResponse)
    services.featured(SERVICE)
    services.unary(SERVICE, "Get", messages.GetSecretRequest, get)
    services.unary(SERVICE, "BulkGet", messages.BulkGetSecretRequest, get_bulk)
