"""What is recorded of calls of other processes; expectations are the original's (v1.18.3)."""

import asyncio

import pytest

from pydapr.errors import Code, RpcError
from pydapr.observe.metrics import Registry
from pydapr.observe.metrics_grpc import GrpcMetrics

CALL = 'app_id="a",grpc_client_method="/S/M"'


async def ask(registry: Registry, fault: BaseException | None = None) -> bytes:
    async def work() -> bytes:
        if fault is not None:
            raise fault
        return b"four"

    return await GrpcMetrics(registry, (1, 2)).asked(b"/S/M", b"to", work())


def test_a_call_counts_with_the_sizes_of_its_messages() -> None:
    registry = Registry({"app_id": "a"})

    assert asyncio.run(ask(registry)) == b"four"
    text = registry.text()
    assert f'dapr_grpc_io_client_completed_rpcs{{{CALL},grpc_client_status="OK"}} 1\n' in text
    assert f'dapr_grpc_io_client_roundtrip_latency_count{{{CALL},grpc_client_status="OK"}} 1\n' in text
    assert f"dapr_grpc_io_client_sent_bytes_per_rpc_sum{{{CALL}}} 2\n" in text
    assert f"dapr_grpc_io_client_received_bytes_per_rpc_sum{{{CALL}}} 4\n" in text


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (RpcError(Code.NOT_FOUND, "no"), "NotFound"),
        (ConnectionRefusedError(), "Unavailable"),
        (asyncio.CancelledError(), "Canceled"),
    ],
)
def test_a_call_that_fails_counts_with_what_it_fails_by(fault: BaseException, status: str) -> None:
    registry = Registry({"app_id": "a"})
    with pytest.raises(type(fault)):
        asyncio.run(ask(registry, fault))

    text = registry.text()
    assert f'dapr_grpc_io_client_completed_rpcs{{{CALL},grpc_client_status="{status}"}} 1\n' in text
    assert f"dapr_grpc_io_client_received_bytes_per_rpc_sum{{{CALL}}} 0\n" in text
