"""Operations under policies."""

import asyncio
from collections.abc import Callable

import pytest

from pydapr.policy import breaker, runner
from pydapr.policy.resiliency import Definition
from pydapr.policy.retry import Retry
from pydapr.policy.runner import CodeFailure, DeadlineExceeded, Runner


class Failed(Exception):
    """What operations here raise."""


class Operation:
    """Raises what it is given, call by call, and then returns; `pauses` are those between the calls."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.pauses: list[float] = []

    async def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    async def run(self, definition: Definition, can_repeat: bool = True) -> str:
        async def sleep(seconds: float) -> None:
            self.pauses.append(seconds)

        return await Runner(Failed, sleep=sleep).run(definition, self, lambda: can_repeat)


def make_breaker(after: int) -> breaker.Breaker:
    rules = breaker.Rules("it", trip=lambda counts: counts.consecutive_failures >= after)
    return breaker.Breaker("it", rules, lambda *_: None, 0.0)


async def forever() -> str:
    await asyncio.Event().wait()
    return "never"


async def test_fails_at_once_without_retries() -> None:
    operation = Operation(Failed())

    with pytest.raises(Failed):
        await operation.run(Definition("it"))
    assert operation.calls == 1


async def test_is_tried_until_it_succeeds() -> None:
    operation = Operation(Failed(), Failed())

    assert await operation.run(Definition("it", retry=Retry(duration=2.0, max_retries=3))) == "done"
    assert operation.pauses == [2.0, 2.0]


async def test_last_failure_comes_out() -> None:
    operation = Operation(Failed("first"), Failed("second"), Failed("third"))

    with pytest.raises(Failed, match="second"):
        await operation.run(Definition("it", retry=Retry(max_retries=1)))


async def test_only_codes_that_match_are_tried_again() -> None:
    policy = Retry(max_retries=3, http_codes=((500, 500),))
    operation = Operation(CodeFailure(500, "x"), CodeFailure(404, "x"))

    with pytest.raises(CodeFailure):
        await operation.run(Definition("it", retry=policy))
    assert operation.calls == 2


async def test_failure_without_a_code_is_tried_again_whatever_matches() -> None:
    operation = Operation(Failed())

    assert await operation.run(Definition("it", retry=Retry(max_retries=1, http_codes=()))) == "done"


async def test_what_cannot_be_repeated_is_not() -> None:
    operation = Operation(Failed())

    with pytest.raises(Failed):
        await operation.run(Definition("it", retry=Retry()), can_repeat=False)


async def test_faults_of_ours_are_not_tried_again() -> None:
    operation = Operation(TypeError())

    with pytest.raises(TypeError):
        await operation.run(Definition("it", retry=Retry()))
    assert operation.calls == 1


async def test_failure_is_discarded_before_another_try_and_kept_otherwise() -> None:
    discarded: list[str] = []

    class Loud(CodeFailure):
        def discard(self) -> None:
            discarded.append(str(self))

    operation = Operation(Loud(500, "first"), Loud(500, "second"))

    with pytest.raises(Loud, match="second"):
        await operation.run(Definition("it", retry=Retry(max_retries=1)))
    assert discarded == ["first"]


async def test_time_limit_ends_an_operation() -> None:
    with pytest.raises(DeadlineExceeded, match="context deadline exceeded"):
        await Runner().run(Definition("it", 0.01), forever, lambda: True)


async def test_each_try_has_the_time_limit() -> None:
    calls = 0

    async def operation() -> str:
        nonlocal calls
        calls += 1
        return await forever() if calls < 3 else "done"

    assert await Runner().run(Definition("it", 0.01, Retry(duration=0.0)), operation, lambda: True) == "done"


async def test_time_limit_of_someone_else_is_not_ours() -> None:
    operation = Operation(TimeoutError())

    with pytest.raises(TimeoutError):
        await operation.run(Definition("it", 5.0))


async def test_open_breaker_ends_the_tries() -> None:
    operation = Operation(*[Failed() for _ in range(9)])

    with pytest.raises(breaker.Open):
        await operation.run(Definition("it", retry=Retry(), breaker=make_breaker(after=3)))
    assert operation.calls == 3


async def test_time_limits_count_for_the_breaker() -> None:
    one = make_breaker(after=1)

    with pytest.raises(DeadlineExceeded):
        await Runner().run(Definition("it", 0.01, breaker=one), forever, lambda: True)
    assert one.state(0.0) == breaker.OPEN


async def test_cancelled_operation_leaves_the_breaker() -> None:
    one = make_breaker(after=1)
    task = asyncio.create_task(runner.Runner().run(Definition("it", breaker=one), forever, lambda: True))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert one.state(0.0) == breaker.OPEN


async def test_first_failure_and_recovery_are_logged(lines: Callable[[], list[str]]) -> None:
    operation = Operation(Failed(), Failed())

    await operation.run(Definition("endpoint[a, a:m]", retry=Retry(duration=0.1)))

    assert lines() == [
        "warning Error processing operation endpoint[a, a:m]. Retrying in 100ms…",
        "info Recovered processing operation endpoint[a, a:m] after 3 attempts",
    ]
