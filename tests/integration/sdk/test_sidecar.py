"""How the SDK finds its sidecar and what it asks it: addresses, sockets, tokens, metadata, shutdown."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.integration.harness import World, free_port

Call = Callable[..., Any]


def test_metadata_can_be_set_and_read(world: World, call: Call) -> None:
    sidecar = world.sidecar("a")

    assert call(sidecar, "metadata", "-") == {"id": sidecar.app_id, "colour": "red and green"}


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "localhost:{}", "http://127.0.0.1:{}", "dns:localhost:{}?tls=false"])
def test_addresses_in_the_forms_that_the_sdk_takes(form: str, world: World, call: Call) -> None:
    sidecar = world.sidecar("a")
    grpc, http = form.format(sidecar.grpc), f"http://127.0.0.1:{sidecar.http}"

    expected = {"id": sidecar.app_id, "colour": "red and green"}
    assert call(None, "metadata", "-", grpc, DAPR_HTTP_ENDPOINT=http) == expected
    assert call(None, "metadata", "-", DAPR_HTTP_ENDPOINT=http, DAPR_GRPC_ENDPOINT=grpc) == expected


def test_a_unix_socket(world: World, call: Call) -> None:
    # The SDK asks for the sidecar's health over HTTP, and cannot do that over a socket.
    public = free_port()
    sidecar = world.daprd("a", None, "--unix-domain-socket", str(world.folder), "--dapr-public-port", str(public))
    path = f"{world.folder}/dapr-{sidecar.app_id}-grpc.socket"

    told = call(None, "metadata", "-", f"unix://{path}", DAPR_HTTP_ENDPOINT=f"http://127.0.0.1:{public}")

    assert told == {"id": sidecar.app_id, "colour": "red and green"}


def test_a_token(world: World, call: Call, sdk_app: int) -> None:
    token = {"DAPR_API_TOKEN": "secret"}
    app = world.sidecar("shop", sdk_app, "--app-protocol", "grpc")
    sidecar = world.daprd("a", environment=token)

    assert call(sidecar, "metadata", "-", **token)["id"] == sidecar.app_id
    assert call(sidecar, "proxied", app.app_id, **token)["answer"] == "said hello"
    assert call(sidecar, "invoke", app.app_id, **token)["large"] == 1_000_000
    refused = call(sidecar, "refused", app.app_id, DAPR_API_TOKEN="other", DAPR_API_METHOD_INVOCATION_PROTOCOL="grpc")
    assert refused["code"] == "UNAUTHENTICATED"


def test_the_client_ends_its_sidecar(world: World, call: Call) -> None:
    sidecar = world.sidecar("a")

    assert call(sidecar, "shutdown", "-") is True

    assert sidecar.exit_code() == 0
