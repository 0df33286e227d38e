"""When a call that passes through is made again, given up or spared."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pydapr.blocks.guarded_proxy import GuardedProxy
from pydapr.blocks.proxy import Proxy
from pydapr.components.nameresolution import Addresses, Instance, NotFound, Resolver
from pydapr.errors import Code, RpcError
from pydapr.net import replay
from pydapr.net.http2_server import ServerExchange
from pydapr.policy import breaker
from pydapr.policy.resiliency import Names, Resiliency
from pydapr.policy.retry import Retry

pytestmark = pytest.mark.plain  # what stands for classes of ours here is no such class

ABORTED = replay.Failed(Code.ABORTED, "not now", trailers=((b"grpc-status", b"10"), (b"x-last", b"1")))
UNREACHED = RpcError(Code.UNAVAILABLE, "connection refused")
HANG = "hang"
OK = "ok"


class Resolves(Resolver):
    """Knows one address of each app but `nobody`."""

    async def open(self) -> None: ...

    async def register(self, instance: Instance) -> None: ...

    def known(self, app_id: str, namespace: str) -> Addresses:
        return ()

    async def resolve(self, app_id: str, namespace: str) -> Addresses:
        if app_id == "nobody":
            raise NotFound(app_id)
        return ("a",)

    def report_dead(self, app_id: str, namespace: str, address: str) -> None: ...

    async def close(self) -> None: ...


class Sidecars:
    """Does what stands in `script`, in turn; the last of it stays. `called` names the apps."""

    def __init__(self, script: Sequence[RpcError | str]) -> None:
        self.script = list(script)
        self.called: list[str] = []

    async def pass_on(self, address: str, app_id: str, namespace: str, relay: Any) -> bool:
        self.called.append(app_id)
        does = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if does is HANG:
            await asyncio.Event().wait()
        if isinstance(does, RpcError):
            raise does
        return True

    def is_unreached(self, error: RpcError) -> bool:
        return error is UNREACHED


class OwnApp:
    async def pass_on(self, relay: Any) -> bool:
        raise ABORTED


class Call:
    """Stands for an exchange; `told` is what it was answered."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.target = b"/my.Service/Method"
        self.headers = headers
        self.fields = dict(headers)
        self.is_begun = False
        self.told: Any = None
        self.trace: Any = None

    def send(self, head: bytes, data: bytes, trailers: Any) -> None:
        self.told = trailers


class Guarded:
    """A proxy under `policies`; `call` gives the status and `error` the error that a call ends with."""

    def __init__(self, policies: Resiliency, *script: RpcError | str) -> None:
        self.sidecars = Sidecars(script)
        proxy = Proxy("me", "", Resolves(), self.sidecars, OwnApp())
        self.guarded = GuardedProxy(proxy, policies, 1000, 1000)

    async def call(self, call: Call | None = None, named: str = "other", target: str = "") -> int:
        exchange = cast(ServerExchange, call or Call())
        return await asyncio.wait_for(self.guarded.pass_on(named, target or named, exchange), 10)

    async def error(self, call: Call | None = None, named: str = "other") -> tuple[int, str]:
        with pytest.raises(RpcError) as error:
            await self.call(call, named)
        return error.value.code, error.value.message


def policies(
    timeout: float = 0.0, retries: Retry | None = None, rules: breaker.Rules | None = None, app: str = "other"
) -> Resiliency:
    made = Resiliency()
    names = Names()
    if timeout:
        made.timeouts["t"] = timeout
        names = names.replace(timeout="t")
    if retries is not None:
        made.retries["r"] = retries
        names = names.replace(retry="r")
    if rules is not None:
        made.circuit_breakers["c"] = rules
        names = names.replace(circuit_breaker="c")
    made.add_app(app, names, 10)
    return made


TWICE = Retry(duration=0.001, max_retries=2)


async def test_a_failing_call_is_made_again() -> None:
    guarded = Guarded(policies(retries=TWICE), ABORTED, ABORTED, OK)

    assert await guarded.call() == Code.OK
    assert guarded.sidecars.called == ["other"] * 3


async def test_the_last_failure_is_told_as_the_app_said_it() -> None:
    guarded, call = Guarded(policies(retries=TWICE), ABORTED), Call()

    assert await guarded.call(call) == Code.ABORTED
    assert len(guarded.sidecars.called) == 3
    assert call.told[-2:] == ABORTED.trailers


@pytest.mark.parametrize(("codes", "tries"), [(((10, 10),), 3), (((1, 9), (11, 16)), 1), ((), 1)])
async def test_only_codes_that_match_are_tried_again(codes: tuple[tuple[int, int], ...], tries: int) -> None:
    guarded = Guarded(policies(retries=TWICE.replace(grpc_codes=codes)), ABORTED)

    await guarded.call()

    assert len(guarded.sidecars.called) == tries


async def test_a_connection_that_cannot_be_made_is_tried_again_whatever_matches() -> None:
    guarded = Guarded(policies(retries=TWICE.replace(grpc_codes=())), UNREACHED)

    assert await guarded.error() == (Code.UNAVAILABLE, "connection refused")
    assert len(guarded.sidecars.called) == 3


async def test_each_try_has_the_whole_timeout() -> None:
    guarded = Guarded(policies(0.05, TWICE), HANG, HANG, OK)

    assert await guarded.call() == Code.OK
    assert len(guarded.sidecars.called) == 3


async def test_what_takes_too_long_has_exceeded_its_deadline() -> None:
    guarded = Guarded(policies(0.02), HANG)

    assert await guarded.error() == (Code.DEADLINE_EXCEEDED, "context deadline exceeded")


@pytest.mark.parametrize("metadata", [(), ((b"dapr-stream", b"true"),)])
async def test_the_clients_deadline_bounds_all_tries_together(metadata: tuple[tuple[bytes, bytes], ...]) -> None:
    endless = Retry(duration=0.01, max_retries=-1)
    guarded = Guarded(policies(retries=endless), UNREACHED)

    error = await guarded.error(Call((b"grpc-timeout", b"80m"), *metadata))

    assert error == (Code.DEADLINE_EXCEEDED, "context deadline exceeded")


async def test_an_open_breaker_spares_the_app() -> None:
    rules = breaker.Rules(name="c", trip=lambda counts: counts.consecutive_failures >= 2)
    guarded = Guarded(policies(rules=rules), ABORTED)

    assert [await guarded.call(), await guarded.call()] == [Code.ABORTED] * 2
    assert await guarded.error() == (Code.UNKNOWN, "circuit breaker is open")
    assert len(guarded.sidecars.called) == 2


async def test_each_method_has_a_breaker_of_its_own() -> None:
    rules = breaker.Rules(name="c", trip=lambda counts: counts.consecutive_failures >= 1)
    guarded, other = Guarded(policies(rules=rules), ABORTED, OK), Call()
    other.target = b"/my.Service/Other"

    assert await guarded.call() == Code.ABORTED
    assert await guarded.call(other) == Code.OK


async def test_an_answer_that_has_begun_is_not_asked_for_again() -> None:
    guarded, call = Guarded(policies(retries=TWICE), ABORTED), Call()
    call.is_begun = True
    call.finish = lambda trailers: setattr(call, "told", trailers)  # type: ignore[attr-defined]

    assert await guarded.call(call) == Code.ABORTED
    assert len(guarded.sidecars.called) == 1 and call.told == ABORTED.trailers


async def test_the_way_to_a_stream_is_tried_again_and_spared() -> None:
    rules = breaker.Rules(name="c", trip=lambda counts: counts.consecutive_failures >= 3)
    guarded = Guarded(policies(retries=TWICE, rules=rules), UNREACHED)
    stream = Call((b"dapr-stream", b" True "))

    assert await guarded.error(stream) == (Code.UNAVAILABLE, "connection refused")
    assert await guarded.error(stream) == (Code.UNKNOWN, "circuit breaker is open")
    assert len(guarded.sidecars.called) == 3


async def test_policies_go_by_the_app_id_and_the_call_to_the_callee() -> None:
    guarded = Guarded(policies(retries=TWICE), ABORTED)

    await guarded.call(named="other", target="callee")

    assert guarded.sidecars.called == ["callee"] * 3


async def test_a_span_says_why_the_call_has_failed() -> None:
    said: list[str] = []
    guarded, call = Guarded(policies(retries=TWICE), ABORTED), Call()
    call.trace = SimpleNamespace(record=SimpleNamespace(failed=said.append))

    await guarded.call(call)

    assert said == ["not now"]


async def test_an_app_without_policies_is_called_once() -> None:
    guarded = Guarded(policies(retries=TWICE, app="another"), ABORTED)

    assert await guarded.error() == (Code.ABORTED, "not now")
    assert len(guarded.sidecars.called) == 1


async def test_the_own_app_has_no_policies() -> None:
    guarded = Guarded(policies(retries=TWICE, app="me"), OK)

    assert await guarded.error(named="me") == (Code.ABORTED, "not now")


async def test_an_app_that_nobody_has_is_not_looked_for_again() -> None:
    endless = Retry(duration=0.01, max_retries=-1)

    assert await Guarded(policies(retries=endless, app="nobody"), OK).error(named="nobody") == (
        Code.UNKNOWN,
        "couldn't find service: nobody",
    )
