"""The shutdown API over gRPC."""

from types import SimpleNamespace
from typing import cast

import pytest

from pydapr.api.grpc.shutdown import ShutdownApi
from pydapr.net.http2_server import ServerExchange


@pytest.mark.parametrize(
    ("values", "is_forced"), [([], False), ([b"true"], True), ([b"TRUE"], True), ([b"false"], False), ([b"1"], False)]
)
async def test_the_sidecar_is_told_how_to_stop(values: list[bytes], is_forced: bool) -> None:
    stopped: list[bool] = []
    exchange = SimpleNamespace(headers=[(b"other", b"true"), *((b"dapr-force-shutdown", value) for value in values)])

    answer = await ShutdownApi(stopped.append).shut_down(cast(ServerExchange, exchange), b"")

    assert (answer, stopped) == (b"", [is_forced])
