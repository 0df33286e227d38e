"""The secrets API over gRPC. Called by the router; asks `blocks.secrets`."""

from collections.abc import Mapping

from pydapr.api.grpc import unary
from pydapr.blocks.secrets import Secrets
from pydapr.net.http2_server import ServerExchange


class SecretsApi:
    """Answers GetSecret and GetBulkSecret."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def get(self, exchange: ServerExchange, data: bytes) -> bytes:
        """One secret."""
        from pydapr.proto.dapr.proto.runtime.v1 import secret_pb2

        request = unary.decode(secret_pb2.GetSecretRequest, data)
        found = await self._secrets.get(request.store_name, request.key, dict(request.metadata))
        return secret_pb2.GetSecretResponse(data=_texts(found)).SerializeToString()

    async def get_bulk(self, exchange: ServerExchange, data: bytes) -> bytes:
        """All secrets by name."""
        from pydapr.proto.dapr.proto.runtime.v1 import secret_pb2

        request = unary.decode(secret_pb2.GetBulkSecretRequest, data)
        found = await self._secrets.get_bulk(request.store_name, dict(request.metadata))
        answer = secret_pb2.GetBulkSecretResponse(
            data={_text(name): secret_pb2.SecretResponse(secrets=_texts(values)) for name, values in found.items()}
        )
        return answer.SerializeToString()


def _texts(values: Mapping[str, str]) -> dict[str, str]:
    return {_text(key): _text(value) for key, value in values.items()}


def _text(value: str) -> str:
    """`value` without what UTF-8 does not have, such as half of a pair in a JSON file."""
    return value.encode("utf-8", "replace").decode()
