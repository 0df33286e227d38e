"""The metrics of gRPC calls beside those of the original's after the same calls: names, labels, counts, sizes.

Runs when PYDAPR_ORIGINAL names a folder with the original executables.
"""

import os
import re
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from tests.integration import grpc_app, harness
from tests.integration.grpc_app import GrpcApp
from tests.integration.harness import Sidecar, World

from pydapr.wire import appcalls

pytestmark = pytest.mark.skipif(not harness.ORIGINAL, reason="PYDAPR_ORIGINAL names no original executables")

COUNTED = re.compile(r"dapr_(grpc_io|runtime_service_invocation)")
TIMES = re.compile(r"(latency|latency_ms)_(sum|bucket)\{")
UNLIKE = re.compile(r"sent_bytes_per_rpc_(sum|bucket).*GetMetadata")
"""Each describes itself."""


class Pair:
    """A caller and a callee of one kind, each with an app that speaks gRPC."""

    def __init__(self, world: World, kind: str, program: list[str], app: GrpcApp) -> None:
        self.app = app
        flags = ("--app-protocol", "grpc")
        self.callee = world.daprd(f"gcallee-{kind}", app.port, *flags, program=program)
        self.caller = world.daprd(f"gcaller-{kind}", app.port, *flags, program=program)

    def call(self) -> None:
        self.callee.await_ready()
        self.caller.await_ready()
        target, own = self.callee.app_id, self.caller.app_id
        with grpc.insecure_channel(f"127.0.0.1:{self.caller.grpc}") as channel:

            def invoke(app_id: str, data: bytes) -> Any:
                return channel.unary_unary(grpc_app.DAPR + "InvokeService")(
                    grpc_app.invocation(app_id, "m", data), timeout=20
                )

            self.app.answer = appcalls.Response()
            self.app.answer.data = b"x" * 3000
            harness.eventually(lambda: _succeeds(lambda: invoke(target, b"a")), "the callee is found")
            invoke(target, b"abc")
            invoke(own, b"abc")
            self.app.answer = appcalls.Response(grpc.StatusCode.NOT_FOUND.value[0], b"none")
            grpc_app.failure(lambda: invoke(target, b"a"))
            channel.unary_unary(grpc_app.DAPR + "GetMetadata")(b"", timeout=20)
            for app_id in (target, own):
                metadata = (("dapr-app-id", app_id),)
                channel.unary_unary("/test.Service/Echo")(b"abc", metadata=metadata, timeout=20)
                grpc_app.failure(
                    lambda metadata=metadata: channel.unary_unary("/test.Service/Fail")(  # type: ignore[misc]
                        b"", metadata=metadata, timeout=20
                    )
                )
                streamed = (*metadata, ("dapr-stream", "true"))
                list(channel.stream_stream("/test.Service/Each")(iter([b"a", b"b"]), metadata=streamed, timeout=20))

    def told(self, sidecar: Sidecar) -> dict[str, str]:
        text = sidecar.call("GET", "/", port=sidecar.metrics).body.decode()
        for one, name in ((self.caller, "CALLER"), (self.callee, "CALLEE")):
            text = text.replace(one.app_id, name)
        series = dict(line.rsplit(" ", 1) for line in text.splitlines() if COUNTED.match(line))
        return {name: value for name, value in series.items() if not TIMES.search(name) and not UNLIKE.search(name)}


def _succeeds(call: Any) -> bool:
    try:
        call()
    except grpc.RpcError:
        return False
    return True


@pytest.fixture(scope="module")
def pairs(shared_world: World) -> Iterator[tuple[Pair, Pair]]:
    original = [os.path.join(harness.ORIGINAL, "daprd")]
    made = []
    # Names of one length, because sizes are compared.
    for kind, program in (("we", harness.OURS), ("it", original)):
        pair = Pair(shared_world, kind, program, GrpcApp())
        made.append(pair)
        pair.call()
    yield made[0], made[1]
    for pair in made:
        pair.app.close()


@pytest.mark.parametrize("side", ["caller", "callee"])
def test_the_same_series_with_the_same_values(pairs: tuple[Pair, Pair], side: str) -> None:
    ours, theirs = (pair.told(getattr(pair, side)) for pair in pairs)

    assert ours == theirs
