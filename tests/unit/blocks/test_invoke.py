"""Which instance of an app is called, and how often, when instances are lost."""

import pytest

from pydapr.app.channel import Answer, AppChannel, Call
from pydapr.blocks.invoke import Invoker
from pydapr.components.nameresolution import Addresses, Instance, NotFound, Resolver
from pydapr.errors import Code, InvokeFailed, RpcError
from pydapr.net.body import Body
from pydapr.policy import built_in
from pydapr.policy.resiliency import Names, Resiliency
from pydapr.policy.retry import Retry


class Known(Resolver):
    """Knows some addresses and forgets none."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def open(self) -> None: ...

    async def register(self, instance: Instance) -> None: ...

    def known(self, app_id: str, namespace: str) -> Addresses:
        return self.addresses

    async def resolve(self, app_id: str, namespace: str) -> Addresses:
        return self.addresses

    def report_dead(self, app_id: str, namespace: str, address: str) -> None: ...

    async def close(self) -> None: ...


class Vanishing(Known):
    """Forgets an address that is reported dead, and finds it again when asked for the second time."""

    asked = 0

    async def resolve(self, app_id: str, namespace: str) -> Addresses:
        self.asked += 1
        if self.asked == 1:
            raise NotFound(app_id)
        self.addresses = ("a",)
        return self.addresses

    def report_dead(self, app_id: str, namespace: str, address: str) -> None:
        self.addresses = ()


class Sidecars:
    """Raises the given codes in turn, then answers; codes below zero are of connections that were never made."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.called: list[tuple[str, bytes]] = []
        self._is_unreached = False

    async def invoke(self, address: str, app_id: str, namespace: str, call: Call) -> Answer:
        self.called.append((address, call.body.whole() if call.body.is_whole else b"?"))
        if not self.codes:
            return Answer(200, (), Body.of(b""))
        code = self.codes.pop(0)
        self._is_unreached = code < 0
        raise RpcError(abs(code), "lost")

    def is_unreached(self, error: RpcError) -> bool:
        return self._is_unreached


LOST, UNREACHED = int(Code.UNAVAILABLE), -int(Code.UNAVAILABLE)


def no_url(url: str) -> AppChannel:
    raise ValueError(url)


def make(sidecars: Sidecars, *addresses: str, named: bool = False, resolver: Resolver | None = None) -> Invoker:
    """With the built-in retries a millisecond apart."""
    invoker = Invoker("me", "", resolver or Known(*addresses), sidecars, no_url)
    invoker.policies = Resiliency()
    invoker.policies.retries[built_in.SERVICE] = Retry(duration=0.001, max_retries=3)
    if named:
        invoker.policies.add_app("other", Names(), 1)
    return invoker


def call(body: Body | None = None) -> Call:
    return Call(b"POST", "m", b"", (), body or Body.of(b"data"))


async def test_lost_call_is_sent_again_with_its_body() -> None:
    sidecars = Sidecars(LOST, LOST)

    assert (await make(sidecars, "a").invoke("other", call())).status == 200
    assert sidecars.called == [("a", b"data")] * 3


async def test_retries_end_with_the_number_of_them() -> None:
    sidecars = Sidecars(*[LOST] * 9)

    with pytest.raises(InvokeFailed, match=r"failed to invoke target other after 3 retries\. Error: rpc error"):
        await make(sidecars, "a").invoke("other", call())
    assert len(sidecars.called) == 4


async def test_other_instances_are_tried_before_any_pause() -> None:
    sidecars = Sidecars(LOST, UNREACHED)

    await make(sidecars, "a", "b", "c").invoke("other", call())

    assert sorted(address for address, _ in sidecars.called) == ["a", "b", "c"]


async def test_app_that_is_gone_from_the_names_for_a_while_is_waited_for() -> None:
    sidecars = Sidecars(UNREACHED)
    names = Vanishing("a")

    assert (await make(sidecars, resolver=names).invoke("other", call())).status == 200
    assert names.asked == 2


async def test_errors_that_are_no_loss_are_not_tried_again() -> None:
    sidecars = Sidecars(int(Code.INTERNAL))

    with pytest.raises(InvokeFailed):
        await make(sidecars, "a").invoke("other", call())
    assert len(sidecars.called) == 1


async def test_streaming_body_that_was_sent_is_not_sent_again() -> None:
    sidecars = Sidecars(LOST)

    with pytest.raises(InvokeFailed):
        await make(sidecars, "a").invoke("other", call(Body()))
    assert len(sidecars.called) == 1


async def test_app_with_a_policy_of_its_own_has_no_built_in_retries() -> None:
    sidecars = Sidecars(LOST)

    with pytest.raises(InvokeFailed) as error:
        await make(sidecars, "a", "b", named=True).invoke("other", call())
    assert len(sidecars.called) == 1
    assert "retries" not in str(error.value)


async def test_app_with_a_policy_of_its_own_is_reached_at_another_instance() -> None:
    sidecars = Sidecars(UNREACHED)

    assert (await make(sidecars, "a", "b", named=True).invoke("other", call())).status == 200
