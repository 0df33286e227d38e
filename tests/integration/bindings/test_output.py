"""Output bindings over HTTP and gRPC."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from tests.integration import http_wire
from tests.integration.bindings.conftest import component
from tests.integration.grpc_app import DAPR, failure
from tests.integration.harness import Sidecar, World
from tests.integration.http_wire import Message, Wire

from pydapr.proto.dapr.proto.runtime.v1 import binding_pb2

UNREAD = "failed deserializing HTTP body: "


def server(wire: Wire, request: Message) -> None:
    """Answers by the path: `/404` with that status, else with what it was asked."""
    request.body = b"".join(wire.pieces())
    if request.target == "/404":
        wire.send(http_wire.answer("404 Not Found", "X-Reason: gone", body=b"nobody"))
    else:
        wire.send(
            http_wire.answer(
                "200 OK", "Content-Type: text/plain", "X-A: 1", body=request.target.encode() + b" " + request.body
            )
        )


@pytest.fixture(scope="module")
def running(shared_world: World) -> Sidecar:
    app = shared_world.app(server)
    url = f"http://127.0.0.1:{app.port}"
    text = component("web", "bindings.http", url=f"{url}/base") + component("broken", "bindings.http", url=f"{url}/404")
    text += component("files", "bindings.localstorage", rootPath=str(shared_world.folder / "files"))
    text += component("inward", "bindings.localstorage", rootPath="files", direction="input")
    text += component("tick", "bindings.cron", schedule="@daily")
    shared_world.write("resources/all.yaml", text)
    return shared_world.sidecar("out", None, "--resources-path", str(shared_world.folder / "resources"))


@pytest.fixture
def sidecar(running: Sidecar) -> Iterator[Sidecar]:
    yield running
    running.disconnect()


def post(sidecar: Sidecar, name: str, body: object, verb: str = "POST", *headers: str) -> Message:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return sidecar.call(verb, f"/v1.0/bindings/{name}", *headers, body=data)


@pytest.fixture
def invoke(sidecar: Sidecar) -> Iterator[Callable[..., tuple[Any, Any]]]:
    channel = grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}")
    method = channel.unary_unary(
        DAPR + "InvokeBinding",
        binding_pb2.InvokeBindingRequest.SerializeToString,
        binding_pb2.InvokeBindingResponse.FromString,
    )

    def call(name: str, operation: str, data: bytes = b"", metadata: Any = None, sent: Any = ()) -> tuple[Any, Any]:
        request = binding_pb2.InvokeBindingRequest(name=name, operation=operation, data=data, metadata=metadata or {})
        answer: tuple[Any, Any] = method.with_call(request, timeout=10, metadata=sent)
        return answer

    yield call
    channel.close()


@pytest.mark.parametrize("verb", ["POST", "PUT"])
def test_data_and_metadata_come_and_go(sidecar: Sidecar, verb: str) -> None:
    reply = post(sidecar, "web", {"operation": "post", "data": {"b": 1}, "metadata": {"path": "/x"}}, verb)

    assert (reply.status, reply.body) == (200, b'/base/x {"b": 1}')
    assert reply.get("content-type") == "application/json"
    assert reply.get("metadata.statuscode") == "200" and reply.get("metadata.x-a") == "1"


def test_an_answer_that_is_none_has_no_content(sidecar: Sidecar) -> None:
    assert post(sidecar, "files", {"operation": "create", "data": "x", "metadata": {"fileName": "a"}}).status == 200

    reply = post(sidecar, "files", {"operation": "delete", "metadata": {"fileName": "a"}})

    assert (reply.status, reply.body) == (204, b"")


def test_a_failed_operation_tells_what_the_binding_tells(sidecar: Sidecar) -> None:
    reply = post(sidecar, "broken", {"operation": "get"})

    assert reply.status == 500
    assert json.loads(reply.body) == {
        "errorCode": "ERR_INVOKE_OUTPUT_BINDING",
        "message": "error invoking output binding broken: received status code 404",
    }
    assert reply.get("metadata.statuscode") == "404" and reply.get("metadata.x-reason") == "gone"


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("nope", {"operation": "get"}, "couldn't find output binding nope"),
        ("web", {}, "operation field is missing from request"),
        (
            "files",
            {"operation": "x"},
            "binding files does not support operation x. supported operations:create get list delete",
        ),
        ("inward", {"operation": "list"}, "couldn't find output binding inward"),
        ("tick", {"operation": "list"}, "couldn't find output binding tick"),
    ],
)
def test_what_cannot_be_asked(sidecar: Sidecar, name: str, body: object, reason: str) -> None:
    reply = post(sidecar, name, body)

    assert reply.status == 500
    told = {"errorCode": "ERR_INVOKE_OUTPUT_BINDING", "message": f"error invoking output binding {name}: {reason}"}
    assert json.loads(reply.body) == told


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "EOF"),
        (b"{", "invalid JSON"),
        (b"[]", "the body must be an object"),
        (b'{"operation": 1}', "operation must be a string"),
        (b'{"operation": "get", "metadata": {"a": 1}}', "metadata must be an object of strings"),
        (b'{"operation": "get", "metadata": []}', "metadata must be an object of strings"),
        (b"[" * 100_000, "invalid JSON"),
        (b'{"operation": "get", "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "invalid JSON"),
    ],
)
def test_a_body_that_is_none(sidecar: Sidecar, body: bytes, reason: str) -> None:
    reply = post(sidecar, "web", body)

    told = json.loads(reply.body)
    assert (reply.status, told["errorCode"]) == (400, "ERR_MALFORMED_REQUEST")
    assert told["message"].startswith(UNREAD) and reason in told["message"]


def test_names_are_read_without_regard_to_case_and_others_passed_over(sidecar: Sidecar) -> None:
    reply = post(sidecar, "web", b' {"Operation": "post", "DATA": "x", "more": 1, "Metadata": null} and more')

    assert (reply.status, reply.body) == (200, b'/base "x"')


def test_halves_of_characters_are_replaced(sidecar: Sidecar) -> None:
    body = rb'{"operation": "create", "data": "x \ud800", "metadata": {"fileName": "half \ud800"}}'

    assert json.loads(post(sidecar, "files", body).body) == {"fileName": "half \ufffd"}
    reply = post(sidecar, "files", {"operation": "get", "metadata": {"fileName": "half \ufffd"}})
    assert reply.body.decode() == "x \ufffd"


def test_a_body_over_the_limit(sidecar: Sidecar) -> None:
    wire = sidecar.connect()
    wire.send(b"POST /v1.0/bindings/web HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n")

    reply = wire.message()

    told = {"errorCode": "ERR_MALFORMED_REQUEST", "message": f"{UNREAD}stream too large"}
    assert (reply.status, json.loads(reply.body)) == (400, told)


def test_baggage_must_be_some(sidecar: Sidecar) -> None:
    assert post(sidecar, "web", {"operation": "get"}, "POST", "baggage: a=b").status == 200

    reply = post(sidecar, "web", {"operation": "get"}, "POST", "baggage: ?")

    assert reply.status == 400 and b"invalid baggage header" in reply.body


def test_grpc_data_and_metadata_come_and_go(invoke: Callable[..., tuple[Any, Any]]) -> None:
    reply, call = invoke("web", "post", b"\x00\xff", {"path": "/x"})

    assert reply.data == b"/base/x \x00\xff"
    assert reply.metadata["statusCode"] == "200"
    assert dict(call.initial_metadata())["metadata.statuscode"] == "200"


def test_grpc_an_answer_that_is_none_is_empty(invoke: Callable[..., tuple[Any, Any]]) -> None:
    reply, _ = invoke("files", "create", b"x", {"fileName": "b"})
    assert json.loads(reply.data) == {"fileName": "b"}

    assert invoke("files", "delete", metadata={"fileName": "b"})[0].ByteSize() == 0


def test_grpc_a_failed_operation_tells_what_the_binding_tells(invoke: Callable[..., tuple[Any, Any]]) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        invoke("broken", "get")

    assert raised.value.code() == grpc.StatusCode.INTERNAL
    assert raised.value.details() == "error invoking output binding broken: received status code 404"
    assert dict(raised.value.initial_metadata())["metadata.statuscode"] == "404"
    assert b"ERR_INVOKE_OUTPUT_BINDING" in dict(raised.value.trailing_metadata())["grpc-status-details-bin"]


def test_grpc_what_cannot_be_asked(invoke: Callable[..., tuple[Any, Any]]) -> None:
    assert failure(lambda: invoke("nope", "get")) == (
        "INTERNAL",
        "error invoking output binding nope: couldn't find output binding nope",
    )


def test_metadata_tell_the_directions(sidecar: Sidecar) -> None:
    found = {one["name"]: one.get("capabilities") for one in sidecar.document("GET", "/v1.0/metadata")["components"]}

    assert found == {
        "web": ["OUTPUT_BINDING"], "broken": ["OUTPUT_BINDING"], "files": ["OUTPUT_BINDING"], "inward": None,
        "tick": ["INPUT_BINDING"],
    }  # fmt: skip


def test_operations_are_counted(sidecar: Sidecar) -> None:
    post(sidecar, "web", {"operation": "get"})
    post(sidecar, "nope", {"operation": "get"})

    page = sidecar.call("GET", "/", port=sidecar.metrics).body.decode()

    lines = [line for line in page.splitlines() if line.startswith("dapr_component_output_binding_count{")]
    assert any('component="web"' in one and 'operation="get"' in one and 'success="true"' in one for one in lines)
    assert any('component="nope"' in one and 'success="false"' in one for one in lines)


def test_grpc_requests_and_answers_are_counted_with_their_sizes(
    sidecar: Sidecar, invoke: Callable[..., tuple[Any, Any]]
) -> None:
    def counts() -> list[str]:
        page = sidecar.call("GET", "/", port=sidecar.metrics).body.decode()
        names = [f"dapr_grpc_io_server_{one}_bytes_per_rpc_count" for one in ("received", "sent")]
        lines = [line for line in page.splitlines() if line.startswith(tuple(names)) and "/InvokeBinding" in line]
        return [line.rpartition(" ")[2] for line in lines]

    invoke("web", "get")
    failure(lambda: invoke("broken", "get"))

    received, sent = counts()
    assert received == sent
