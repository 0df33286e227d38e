"""Service invocation with the SDK's client: over HTTP and gRPC, to apps that speak either, and proxied."""

import json
from collections.abc import Callable
from typing import Any

from tests.integration import http_wire
from tests.integration.harness import World
from tests.integration.http_wire import Message, Wire

Call = Callable[..., Any]
OVER_GRPC = {"DAPR_API_METHOD_INVOCATION_PROTOCOL": "grpc"}


def shop(wire: Wire, request: Message) -> None:
    """An app over HTTP with the methods that the SDK's app has, and one more."""
    body = b"".join(wire.pieces())
    path = request.target.partition("?")[0]
    if path == "/refuse":
        refusal = b'{"errorCode": "TEAPOT", "message": "short and stout"}'
        wire.send(http_wire.answer("418 I'm a Teapot", "Content-Type: application/json", body=refusal))
    elif path == "/list":
        wire.send(http_wire.answer("200 OK", "Content-Type: text/plain", body=request.target.encode()))
    else:
        mine = (f"Content-Type: {request.get('content-type')}", f"Mine: {request.get('mine')}")
        wire.send(http_wire.answer("200 OK", *mine, body=body))


def test_an_app_over_http_called_over_http(world: World, call: Call) -> None:
    app, caller = world.sidecar("shop", world.app(shop)), world.sidecar("caller")

    told = call(caller, "invoke", app.app_id)

    assert told["large"] == 1_000_000
    posted = told["posted"]
    assert (posted["data"], posted["type"], posted["status"]) == ('{"n": 1}', "application/json", 200)
    assert {key.lower(): value for key, value in posted["headers"].items()}["mine"] == "['yes']"
    assert call(caller, "get", app.app_id)["data"] == "/list?q=1+%C3%A9"
    assert call(caller, "refused", app.app_id) == {
        "code": "TEAPOT",
        "status": 418,
        "text": "short and stout (Error Code: TEAPOT, Status Code: 418)",
    }


def test_an_app_over_http_called_over_grpc(world: World, call: Call) -> None:
    app, caller = world.sidecar("shop", world.app(shop)), world.sidecar("caller")

    posted = call(caller, "invoke", app.app_id, **OVER_GRPC)["posted"]

    assert (posted["data"], posted["type"]) == ('{"n": 1}', "application/json")
    assert posted["headers"]["mine"] == "['yes']"
    # 418 has no gRPC code of its own.
    assert call(caller, "refused", app.app_id, **OVER_GRPC)["code"] == "UNKNOWN"


def test_an_app_written_with_the_sdk_called_over_http_and_over_grpc(world: World, call: Call, sdk_app: int) -> None:
    app = world.sidecar("shop", sdk_app, "--app-protocol", "grpc", "--enable-app-health-check")
    caller = world.sidecar("caller")

    for protocol in ({}, OVER_GRPC):
        told = call(caller, "invoke", app.app_id, **protocol)
        posted = told["posted"]
        assert (posted["data"], posted["type"], told["large"]) == ('{"n": 1}', "application/json", 1_000_000)
        assert "yes" in json.dumps({key.lower(): value for key, value in posted["headers"].items()}["mine"])
    refused = call(caller, "refused", app.app_id, **OVER_GRPC)
    assert refused["code"] == "UNKNOWN"
    assert "not this one" in refused["text"]
    assert call(caller, "refused", app.app_id)["status"] == 500


def test_a_service_of_the_app_is_called_through_the_proxy(world: World, call: Call, sdk_app: int) -> None:
    app, caller = world.sidecar("shop", sdk_app, "--app-protocol", "grpc"), world.sidecar("caller")

    told = call(caller, "proxied", app.app_id)

    assert told == {
        "answer": "said hello",
        "told": "yes",
        "pieces": ["a", "a", "b", "b"],
        "refusal": "FAILED_PRECONDITION: not now",
    }


def test_the_asynchronous_client_makes_calls_side_by_side(world: World, call: Call) -> None:
    app, caller = world.sidecar("shop", world.app(shop)), world.sidecar("caller")

    told = call(caller, "together", app.app_id)

    assert told == {"id": caller.app_id, "colour": "blue", "in_order": True}


def test_an_app_that_is_not_there_is_named(world: World, call: Call) -> None:
    caller = world.sidecar("caller")

    refused = call(caller, "refused", world.app_id("none"))

    assert (refused["code"], refused["status"]) == ("ERR_DIRECT_INVOKE", 500)
    assert world.app_id("none") in refused["text"]
