"""Which method of the gRPC API answers a call, and who is turned away."""

from collections.abc import Callable
from typing import Any

import pytest

from pydapr.api.grpc import router
from pydapr.errors import Code, RpcError
from pydapr.net import grpc_server
from pydapr.net.exchange import Handler
from pydapr.net.grpc_server import Method
from pydapr.net.http2_server import ServerExchange

Client = Any
DAPR = "/dapr.proto.runtime.v1.Dapr/"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


async def _own(exchange: ServerExchange) -> None:
    grpc_server.reply(exchange, b"own")


async def _others(exchange: ServerExchange) -> None:
    token = dict(exchange.headers).get(b"dapr-api-token", b"none")
    grpc_server.reply(exchange, b"others %b" % token)


def _same(method: Method) -> Method:
    return method


def build(
    is_open: Callable[[str], bool] = lambda path: True, token: str = "", around: Callable[[Method], Method] = _same
) -> Handler:
    return router.build({"GetMetadata": _own}, _others, is_open, token, around)


async def test_methods_of_ours_answer(client: Client) -> None:
    await client.serve(build())

    assert await client.unary(DAPR + "GetMetadata") == b"own"


@pytest.mark.parametrize("method", ["/my.Service/Method", DAPR + "NoSuch", "/dapr.proto.runtime.v1.Other/GetMetadata"])
async def test_what_is_none_of_ours_is_passed_on(client: Client, method: str) -> None:
    await client.serve(build())

    assert await client.unary(method) == b"others none"


async def test_methods_that_are_not_there_yet_are_unimplemented(client: Client) -> None:
    await client.serve(build())

    text = "unknown method SaveState for service dapr.proto.runtime.v1.Dapr"
    assert await client.error(DAPR + "SaveState") == ("UNIMPLEMENTED", text)


@pytest.mark.parametrize("method", ["GetMetadata", "SaveState"])
async def test_closed_methods_say_so(client: Client, method: str) -> None:
    await client.serve(build(is_open=lambda path: path != DAPR + method))

    assert await client.error(DAPR + method) == ("UNIMPLEMENTED", "Not Implemented")


async def test_reflection_asks_for_an_app_id_first(client: Client) -> None:
    await client.serve(build())

    text = "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata"
    assert await client.error(REFLECTION) == ("UNKNOWN", text)
    with_id = (("dapr-app-id", "a"),)
    assert b"dapr.proto.runtime.v1.Dapr" in await client.unary(REFLECTION, b"\x3a\x01*", with_id)


@pytest.mark.parametrize(
    "metadata", [(), (("dapr-api-token", "wrong"),), (("dapr-api-token", ""),), (("dapr-api-token", "secret1"),)]
)
@pytest.mark.parametrize("method", [DAPR + "GetMetadata", "/my.Service/Method"])
async def test_calls_without_the_token_are_turned_away(client: Client, metadata: Any, method: str) -> None:
    await client.serve(build(token="secret"))

    assert await client.error(method, metadata=metadata) == ("UNAUTHENTICATED", "Unauthorized")


async def test_the_token_opens_and_is_not_passed_on(client: Client) -> None:
    await client.serve(build(token="secret"))
    metadata = (("dapr-api-token", "secret"),)

    assert await client.unary(DAPR + "GetMetadata", metadata=metadata) == b"own"
    assert await client.unary("/my.Service/Method", metadata=metadata) == b"others none"


async def test_what_stands_around_methods_sees_all_that_are_open(client: Client) -> None:
    seen: list[str] = []

    def around(method: Method) -> Method:
        async def handle(exchange: ServerExchange) -> int | None:
            seen.append(exchange.target.decode())
            return await method(exchange)

        return handle

    await client.serve(build(lambda path: not path.endswith("GetState"), "", around))
    await client.unary(DAPR + "GetMetadata")
    await client.unary("/my.Service/Method")
    for failing in (DAPR + "SaveState", REFLECTION, DAPR + "GetState"):
        await client.error(failing)

    assert seen == [DAPR + "GetMetadata", "/my.Service/Method", DAPR + "SaveState", REFLECTION]


async def test_an_error_of_a_method_is_its_status(client: Client) -> None:
    async def fail(exchange: ServerExchange) -> None:
        raise RpcError(Code.OUT_OF_RANGE, "too far: ä%")

    await client.serve(router.build({"GetMetadata": fail}, _others, lambda path: True, "", _same))

    assert await client.error(DAPR + "GetMetadata") == ("OUT_OF_RANGE", "too far: ä%")
