"""JSON that costs more than it says: nested without end, with numbers without end."""

from collections.abc import Iterator

import pytest
from tests.integration.harness import Sidecar, World
from tests.integration.state import stores

TEMPLATES = {
    "/v1.0/state/mem": b'[{"key": "a", "value": %b}]',
    "/v1.0/state/mem/transaction": b'{"operations": [{"operation": "upsert", "request": {"key": "a", "value": %b}}]}',
    "/v1.0/state/mem/bulk": b'{"keys": %b}',
    "/v1.0/publish/bulk/ps/t": b'[{"entryId": "1", "event": %b, "contentType": "application/json"}]',
    "/v1.0/jobs/a": b'{"schedule": "@daily", "data": %b}',
    "/v1.0-alpha2/conversation/a/converse": b'{"inputs": %b}',
}


@pytest.fixture(scope="module")
def running(shared_world: World) -> Sidecar:
    resources = (stores.component("mem", "state.in-memory"), stores.component("ps", "pubsub.in-memory"))
    return stores.start(shared_world, *resources).await_ready()


@pytest.fixture
def sidecar(running: Sidecar) -> Iterator[Sidecar]:
    yield running
    assert running.status("/v1.0/healthz") == 204
    assert "nexpected error" not in running.log


@pytest.mark.parametrize("deep", [b"[" * 200_000, b"[" * 5_000 + b"]" * 5_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000])
@pytest.mark.parametrize("target", TEMPLATES)
def test_nesting_without_end(sidecar: Sidecar, target: str, deep: bytes) -> None:
    answer = sidecar.call("POST", target, "Content-Type: application/json", body=TEMPLATES[target] % deep)

    assert answer.status == 400


def test_a_number_without_end(sidecar: Sidecar) -> None:
    answer = sidecar.call("POST", "/v1.0/jobs/a", body=TEMPLATES["/v1.0/jobs/a"] % (b"1" * 1000))

    assert (answer.status, answer.body[:37]) == (400, b'{"errorCode":"ERR_MALFORMED_REQUEST",')
