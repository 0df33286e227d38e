"""InvokeService: what is called, and how the answer of an app is told."""

from collections.abc import Sequence
from typing import Any

import grpc
import pytest

from pydapr.api.grpc.invoke import InvokeApi
from pydapr.api.grpc.unary import Unary
from pydapr.app import rpc
from pydapr.app.channel import Answer, Call
from pydapr.blocks.invoke import Invoker
from pydapr.errors import InvokeFailed
from pydapr.net import grpc_server
from pydapr.net.body import Body, Disconnected
from pydapr.proto.dapr.proto.common.v1 import common_pb2
from pydapr.wire import appcalls
from pydapr.wire.invocation import field

Client = Any


class Apps(Invoker):
    """Answers each call with `answer`; `called` has what was asked for."""

    def __init__(self, answer: Answer | Exception) -> None:
        self._answer = answer
        self.policies = None
        self.called: list[tuple[str, Call]] = []

    async def invoke(self, target: str, call: Call) -> Answer:
        self.called.append((target, call))
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def http(status: int, headers: Sequence[tuple[bytes, bytes]] = (), data: bytes = b"") -> Answer:
    return Answer(status, list(headers), Body.of(data))


def request(method: bytes = b"a/b", data: bytes = b"data") -> bytes:
    message = appcalls.Request(method, data, b"", b"text/plain", (b"PUT", b"q=1")).encode()
    return field(b"\x0a", b"other") + field(b"\x1a", message)


async def serve(client: Client, answer: Answer | Exception) -> Apps:
    apps = Apps(answer)
    await client.serve(grpc_server.Methods({b"/d/InvokeService": Unary(InvokeApi(apps).invoke_service, 1000)}))
    return apps


async def ask(client: Client, metadata: Any = ()) -> tuple[common_pb2.InvokeResponse, dict[str, Any]]:
    """The answer and its header metadata."""

    def call(channel: Any) -> Any:
        return channel.unary_unary("/d/InvokeService").with_call(request(), metadata=metadata, timeout=10)

    data, told = await client.ask(call)
    return common_pb2.InvokeResponse.FromString(data), dict(told.initial_metadata())


async def refused(client: Client, data: bytes) -> Any:
    def call(channel: Any) -> Any:
        with pytest.raises(grpc.RpcError) as failed:
            channel.unary_unary("/d/InvokeService")(data, timeout=10)
        return failed.value

    return await client.ask(call)


async def test_the_request_is_passed_on(client: Client) -> None:
    apps = await serve(client, http(200))

    await ask(client, (("x-mine", "1"),))

    ((target, call),) = apps.called
    assert isinstance(call, rpc.RpcCall)
    assert (target, call.method, await call.body.read_all()) == ("other", "a/b", b"data")
    assert (call.request.content_type, call.request.extension) == (b"text/plain", (b"PUT", b"q=1"))
    assert (b"x-mine", b"1") in call.metadata


async def test_the_answer_of_an_http_app_is_told_as_metadata(client: Client) -> None:
    await serve(client, http(201, [(b"content-type", b"text/x"), (b"x-a", b"1")], b"ok"))

    answer, metadata = await ask(client)

    assert (answer.data.value, answer.content_type) == (b"ok", "text/x")
    assert (metadata["dapr-http-status"], metadata["x-a"]) == ("201", "1")


async def test_a_failure_of_an_http_app_is_a_code(client: Client) -> None:
    await serve(client, http(403, [(b"x-a", b"1")], b"not you"))

    error = await refused(client, request())

    assert (error.code(), error.details()) == (grpc.StatusCode.PERMISSION_DENIED, "Forbidden")
    assert dict(error.initial_metadata())["dapr-http-status"] == "403"
    assert b"not you" in dict(error.trailing_metadata())["grpc-status-details-bin"]


async def test_the_status_of_a_grpc_app_is_told_as_it_is(client: Client) -> None:
    response = appcalls.Response(10, b"not now")
    response.trailers = [(b"x-last", b"2")]
    await serve(client, rpc.RpcAnswer(response))

    error = await refused(client, request())

    assert (error.code(), error.details()) == (grpc.StatusCode.ABORTED, "not now")


@pytest.mark.parametrize(
    ("data", "code", "text"),
    [
        (field(b"\x0a", b"other"), grpc.StatusCode.INTERNAL, "failed to invoke, id: other, err: "),
        (b"\xff\xff", grpc.StatusCode.INTERNAL, "grpc: error unmarshalling request"),
        (field(b"\x0a", b"\xff"), grpc.StatusCode.INTERNAL, "grpc: error unmarshalling request"),
    ],
)
async def test_requests_that_are_none_are_errors(client: Client, data: bytes, code: Any, text: str) -> None:
    apps = await serve(client, http(200))

    error = await refused(client, data)

    assert error.code() == code and error.details().startswith(text)
    assert not apps.called


async def test_a_call_that_cannot_be_made_is_an_internal_error(client: Client) -> None:
    await serve(client, InvokeFailed("failed to invoke, id: other, err: nobody"))

    error = await refused(client, request())

    assert (error.code(), error.details()) == (
        grpc.StatusCode.INTERNAL,
        "failed to invoke, id: other, err: nobody",
    )


async def test_an_answer_that_breaks_off_is_an_internal_error(client: Client) -> None:
    body = Body()
    body.fail(Disconnected("gone"))
    await serve(client, Answer(200, [], body))

    error = await refused(client, request())

    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "failed to invoke, id: other, err: gone")
