"""The metadata API over gRPC."""

from typing import cast

import pytest

from pydapr import DAPR_VERSION
from pydapr.api.grpc.metadata import MetadataApi
from pydapr.blocks.metadata import MAX_ATTRIBUTES, AppConnection, Metadata
from pydapr.errors import Code, RpcError, TooManyAttributes
from pydapr.net.http2_server import ServerExchange
from pydapr.proto.dapr.proto.runtime.v1 import metadata_pb2

EXCHANGE = cast(ServerExchange, None)
"""Neither method looks at it."""


def metadata() -> Metadata:
    connection = AppConnection(3000, "grpc", "127.0.0.1", 5, "/healthz", "5s", "1s", 3)
    components = [{"name": "store", "type": "state.in-memory", "version": "v1", "capabilities": ["ETAG"]}]
    return Metadata("me", ["HotReload"], connection, components, ["remote"])


def wanted(key: str, value: str) -> bytes:
    return metadata_pb2.SetMetadataRequest(key=key, value=value).SerializeToString()


async def test_the_description_is_complete() -> None:
    told = metadata_pb2.GetMetadataResponse.FromString(await MetadataApi(metadata()).get(EXCHANGE, b""))

    assert (told.id, told.runtime_version, list(told.enabled_features)) == ("me", DAPR_VERSION, ["HotReload"])
    (component,) = told.registered_components
    assert (component.name, component.type, list(component.capabilities)) == ("store", "state.in-memory", ["ETAG"])
    assert [endpoint.name for endpoint in told.http_endpoints] == ["remote"]
    connection = told.app_connection_properties
    assert (connection.port, connection.protocol, connection.max_concurrency) == (3000, "grpc", 5)
    health = connection.health
    assert (health.health_check_path, health.health_probe_interval, health.health_threshold) == ("/healthz", "5s", 3)
    assert dict(told.extended_metadata) == {"daprRuntimeVersion": DAPR_VERSION}


async def test_attributes_are_attached_and_replaced() -> None:
    api = MetadataApi(metadata())

    assert await api.set(EXCHANGE, wanted("colour", "red")) == b""
    assert await api.set(EXCHANGE, wanted("colour", "blue")) == b""
    assert await api.set(EXCHANGE, wanted("", "nameless")) == b""

    told = metadata_pb2.GetMetadataResponse.FromString(await api.get(EXCHANGE, b""))
    assert dict(told.extended_metadata) == {"colour": "blue", "daprRuntimeVersion": DAPR_VERSION}


async def test_attributes_are_bounded() -> None:
    described = metadata()
    described.extended = {str(number): "" for number in range(MAX_ATTRIBUTES)}

    with pytest.raises(TooManyAttributes):
        await MetadataApi(described).set(EXCHANGE, wanted("new", ""))
    await MetadataApi(described).set(EXCHANGE, wanted("0", "again"))
    assert described.extended["0"] == "again"


async def test_a_request_that_is_no_protobuf_is_an_error() -> None:
    api = MetadataApi(metadata())

    for method in (api.get, api.set):
        with pytest.raises(RpcError, match="error unmarshalling request") as error:
            await method(EXCHANGE, b"\xff\xff")
        assert error.value.code == Code.INTERNAL
