"""How a sidecar finds pluggable components, and what it says when one is of no use."""

import os
import socket
from collections.abc import Callable, Iterator

import grpc
import pytest
from tests.integration.harness import World
from tests.integration.pluggable.serving import Served, folder, resource

Serve = Callable[[str, str], Served]


@pytest.fixture
def silent(world: World, serve: Serve) -> Iterator[str]:
    """The type name of a socket that takes connections, and says nothing."""
    path = f"{folder(world)['DAPR_COMPONENTS_SOCKETS_FOLDER']}/mute.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        yield "mute"


def fatal(world: World, type_: str, **metadata: str) -> str:
    """What the log of a sidecar says that cannot start with this component."""
    world.write("resources/all.yaml", resource("c", type_, **metadata))
    flags = ("--resources-path", str(world.folder / "resources"))
    sidecar = world.daprd("plug", None, *flags, environment=folder(world))
    assert sidecar.exit_code() == 1
    return next(line for line in sidecar.messages() if "Fatal error" in line)


def test_a_type_that_nobody_has(world: World, serve: Serve) -> None:
    serve("state.sqlite", "lite")

    assert "couldn't find state store state.other/v1" in fatal(world, "state.other")


def test_a_socket_is_only_of_the_kinds_that_it_offers(world: World, serve: Serve) -> None:
    serve("state.sqlite", "lite")

    assert "couldn't find secret store secretstores.lite/v1" in fatal(world, "secretstores.lite")


def test_a_socket_that_says_nothing_does_not_hold_the_start(world: World, silent: str) -> None:
    text = fatal(world, f"state.{silent}")

    assert "the pluggable component at" in text and "mute.sock does not say what it offers" in text


def test_metadata_that_the_component_refuses(world: World, serve: Serve) -> None:
    serve("state.sqlite", "lite")

    assert "metadata property connectionString is required" in fatal(world, "state.lite")


def test_a_socket_comes_before_what_is_built_in(world: World, serve: Serve) -> None:
    """As in the original: what somebody puts there is what is meant."""
    serve("state.sqlite", "in-memory")
    kept = world.folder / "s.db"
    world.write("resources/all.yaml", resource("c", "state.in-memory", connectionString=str(kept)))
    flags = ("--resources-path", str(world.folder / "resources"))

    world.daprd("plug", None, *flags, environment=folder(world)).await_ready()

    assert kept.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives sockets to others")
def test_a_socket_of_another_user_does_not(world: World, serve: Serve) -> None:
    os.chown(serve("state.sqlite", "in-memory").socket, 12345, 12345)
    world.write("resources/all.yaml", resource("c", "state.in-memory"))
    flags = ("--resources-path", str(world.folder / "resources"))

    sidecar = world.daprd("plug", None, *flags, environment=folder(world)).await_ready()

    assert "DELETE_WITH_PREFIX" in sidecar.document("GET", "/v1.0/metadata")["components"][0]["capabilities"]
    assert "belongs to another user" in sidecar.log


def test_reflection_tells_what_is_served(world: World, serve: Serve) -> None:
    """Asked by another implementation of gRPC, in the form that the original asks in."""
    served = serve("state.sqlite", "lite")
    with grpc.insecure_channel(f"unix://{served.socket}") as channel:
        call = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        [listed] = call(iter([b"\x3a\x01*"]), timeout=20)

    for name in ("StateStore", "TransactionalStateStore", "QueriableStateStore", "TransactionalStoreMultiMaxSize"):
        assert f"dapr.proto.components.v1.{name}".encode() in listed


def test_a_call_for_a_component_that_was_not_begun(world: World, serve: Serve) -> None:
    served = serve("state.sqlite", "lite")
    with grpc.insecure_channel(f"unix://{served.socket}") as channel:
        call = channel.unary_unary("/dapr.proto.components.v1.StateStore/Get")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=20)

    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
