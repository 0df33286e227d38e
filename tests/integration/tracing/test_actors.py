"""The spans of a call of an actor that is elsewhere, by either API; here as with the original."""

import os
from collections.abc import Iterator

import grpc
import pytest
from tests.integration import harness
from tests.integration.actors.conftest import ActorWorld, call
from tests.integration.collector import Collector
from tests.integration.grpc_app import DAPR
from tests.integration.harness import World
from tests.integration.tracing.conftest import otlp

CLIENT, SERVER = 3, 2
KINDS = ["ours", *(["original"] if os.path.exists(os.path.join(harness.ORIGINAL, "daprd")) else [])]
INVOKE = b"\x0a\x03Cat\x12\x011\x1a\x01m"


@pytest.fixture
def actors(world: World) -> Iterator[ActorWorld]:
    made = ActorWorld(world)
    yield made
    made.close()


@pytest.mark.parametrize("kind", KINDS)
def test_both_sides_leave_a_span(actors: ActorWorld, collector: Collector, kind: str) -> None:
    flags = otlp(actors.world, collector)
    host = actors.host()
    actors.sidecar("host", host, *flags, program=kind)
    caller = actors.sidecar("caller", None, *flags, program=kind)
    harness.eventually(lambda: call(caller, "Cat/1", "first").status == 200, "the actor answers")

    told = call(caller, "Cat/1", "m").get("traceparent") or ""
    harness.eventually(lambda: len(collector.named("CallActor/Cat/m", SERVER)) == 1, "the span of the host")
    harness.eventually(lambda: collector.named("CallActor/Cat/m", CLIENT), "the span of the caller")
    [above] = collector.named("CallActor/Cat/m", CLIENT)
    [below] = collector.named("CallActor/Cat/m", SERVER)
    assert told == f"00-{above.trace}-{above.id}-01"
    assert (below.trace, below.parent) == (above.trace, above.id)
    assert (host.last().get("traceparent") or "")[36:52] == below.id

    with grpc.insecure_channel(f"127.0.0.1:{caller.grpc}") as channel:
        channel.unary_unary(DAPR + "InvokeActor")(INVOKE, timeout=harness.LIMIT)
    harness.eventually(lambda: collector.named(DAPR + "InvokeActor", CLIENT), "the span of the caller")
    harness.eventually(lambda: len(collector.named("CallActor/Cat/m", SERVER)) == 2, "the span of the host")
    [above] = collector.named(DAPR + "InvokeActor", CLIENT)
    below = next(span for span in collector.named("CallActor/Cat/m", SERVER) if span.trace == above.trace)
    assert below.parent == above.id
    assert above.attributes == {"dapr.api": DAPR + "InvokeActor", "dapr.protocol": "grpc"}
    assert below.attributes == {
        "dapr.actor": "Cat.1",
        "dapr.api": "/dapr.proto.internals.v1.ServiceInvocation/CallActor",
        "dapr.protocol": "grpc",
        "rpc.service": "ServiceInvocation",
    }
