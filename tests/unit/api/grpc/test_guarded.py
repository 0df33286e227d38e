"""InvokeService under policies."""

from collections.abc import Sequence

import pytest

from pydapr.api.grpc.guarded import GuardedCalls, Told
from pydapr.errors import Code, InvokeFailed, RpcError
from pydapr.policy import breaker
from pydapr.policy.resiliency import Names, Resiliency
from pydapr.policy.retry import Retry
from pydapr.wire import appcalls

UNREACHED = InvokeFailed("failed to invoke, id: other, err: lost")


class Calls:
    """A target that answers with these codes, or errors, in turn; the last of them stays."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.count = 0

    async def once(self) -> Told:
        self.count += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return [(b"x-try", b"%d" % self.count)], appcalls.Response(answer, b"words")


def guarded(retries: Retry | None = None, rules: breaker.Rules | None = None) -> GuardedCalls:
    policies = Resiliency()
    names = Names()
    if retries is not None:
        policies.retries["r"] = retries
        names = names.replace(retry="r")
    if rules is not None:
        policies.circuit_breakers["c"] = rules
        names = names.replace(circuit_breaker="c")
    policies.add_app("other", names, 10)
    return GuardedCalls(policies)


TWICE = Retry(duration=0.001, max_retries=2)


@pytest.mark.parametrize(
    ("answers", "code", "count"),
    [
        ([Code.OK], Code.OK, 1),
        ([Code.ABORTED, UNREACHED, Code.OK], Code.OK, 3),
        ([Code.ABORTED], Code.ABORTED, 3),
    ],
)
async def test_failures_of_the_app_and_of_the_way_are_tried_again(
    answers: Sequence[int | Exception], code: int, count: int
) -> None:
    calls = Calls(*answers)

    metadata, response = await guarded(TWICE).told("other", "m", calls.once)

    assert (response.code, calls.count) == (code, count)
    assert metadata == [(b"x-try", b"%d" % count)]


async def test_codes_that_do_not_match_are_tried_again_as_well() -> None:
    calls = Calls(Code.ABORTED)

    await guarded(TWICE.replace(grpc_codes=())).told("other", "m", calls.once)

    assert calls.count == 3


async def test_the_last_error_of_the_way_is_raised() -> None:
    with pytest.raises(InvokeFailed) as error:
        await guarded(TWICE).told("other", "m", Calls(UNREACHED).once)
    assert error.value is UNREACHED


async def test_an_open_breaker_spares_the_method() -> None:
    calls = guarded(rules=breaker.Rules(name="c", trip=lambda counts: counts.consecutive_failures >= 1))
    app = Calls(Code.ABORTED)

    await calls.told("other", "m", app.once)
    with pytest.raises(RpcError, match="circuit breaker is open") as error:
        await calls.told("other", "m", app.once)
    await calls.told("other", "n", app.once)

    assert (error.value.code, app.count) == (Code.UNKNOWN, 2)


async def test_apps_without_policies_are_called_once() -> None:
    calls = Calls(Code.ABORTED)

    await guarded(TWICE).told("another", "m", calls.once)

    assert calls.count == 1
