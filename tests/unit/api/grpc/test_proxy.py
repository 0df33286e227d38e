"""Which app a call goes to that is none of ours."""

from typing import Any, cast

import pytest

from pydapr.api.grpc.proxy import MISSING, ProxyApi
from pydapr.blocks.proxy import Proxy
from pydapr.errors import Code, RpcError
from pydapr.net.relay import Relay
from pydapr.policy.resiliency import Names, Resiliency
from pydapr.policy.retry import Retry

pytestmark = pytest.mark.plain  # what stands for classes of ours here is no such class

Client = Any


class Passing:
    """Stands for the block: fails with what it was asked for."""

    def __init__(self) -> None:
        self.called: list[str] = []

    async def is_other(self, target: str) -> bool:
        return True

    async def pass_on(self, target: str, relay: Relay) -> None:
        self.called.append(target)
        raise RpcError(Code.ABORTED, f"passed to {target}")


async def serve(client: Client, policies: Resiliency | None = None) -> Passing:
    from pydapr.net import grpc_server

    block = Passing()
    await client.serve(grpc_server.Methods({}, ProxyApi(cast(Proxy, block), 1000, policies).handle))
    return block


@pytest.mark.parametrize(
    ("metadata", "target"),
    [
        ((("dapr-app-id", "a"),), "a"),
        ((("dapr-app-id", "a.theirs"),), "a.theirs"),
        ((("dapr-app-id", "a"), ("dapr-app-id", "b")), "a"),
        ((("dapr-callee-app-id", "c"),), "c"),
        ((("dapr-app-id", "a"), ("dapr-callee-app-id", "c")), "c"),
        ((("dapr-app-id", ""),), ""),
    ],
)
async def test_the_metadata_name_the_app(client: Client, metadata: Any, target: str) -> None:
    await serve(client)

    assert await client.error("/my.Service/Method", metadata=metadata) == ("ABORTED", f"passed to {target}")


@pytest.mark.parametrize("with_policies", [False, True])
async def test_a_call_that_names_no_app_is_an_error(client: Client, with_policies: bool) -> None:
    await serve(client, _policies() if with_policies else None)

    assert await client.error("/my.Service/Method") == ("UNKNOWN", MISSING)


def _policies() -> Resiliency:
    made = Resiliency()
    made.retries["r"] = Retry(duration=0.001, max_retries=2)
    made.add_app("a", Names(retry="r"), 10)
    return made


@pytest.mark.parametrize(
    ("metadata", "called"),
    [
        ((("dapr-app-id", "a"),), ["a"] * 3),
        ((("dapr-app-id", "a"), ("dapr-callee-app-id", "c")), ["c"] * 3),
        ((("dapr-app-id", "b"),), ["b"]),
        ((("dapr-callee-app-id", "a"),), ["a"]),
    ],
)
async def test_policies_are_those_of_the_app_id(client: Client, metadata: Any, called: list[str]) -> None:
    block = await serve(client, _policies())

    assert (await client.error("/my.Service/Method", metadata=metadata))[0] == "ABORTED"
    assert block.called == called
