"""Carries an operation out under its policies: retry(breaker(timeout(operation))).

Called by whoever has a `Definition` from `policy.resiliency`; where there is none, the operation is called as
it is. Here are the clock, the chance and the waiting that the rules themselves do not have.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydapr.policy.breaker import Breaker
from pydapr.policy.resiliency import Definition
from pydapr.policy.tries import Tries

T = TypeVar("T")
Operation = Callable[[], Awaitable[T]]


class DeadlineExceeded(Exception):
    """The operation took longer than its timeout allows, and was cancelled."""

    def __init__(self) -> None:
        super().__init__("context deadline exceeded")


class CodeFailure(Exception):
    """A failure with a code of HTTP or gRPC, which the retry policy may match. Operations raise it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    def discard(self) -> None:
        """Another try follows: nobody will look at this failure any more."""


class Runner:
    """Runs operations. `failures` are what they may raise; anything else is a fault of ours and not tried again."""

    def __init__(self, *failures: type[Exception], sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._failures: tuple[type[Exception], ...] = (*failures, CodeFailure, DeadlineExceeded)
        self._sleep = sleep

    async def run(self, definition: Definition, operation: Operation[T], can_repeat: Callable[[], bool]) -> T:
        """The result of `operation`, which is called again as the policies allow while it `can_repeat`.

        Raises what the last call raised, `DeadlineExceeded`, or `breaker.Refused`, after which nothing is tried.
        """
        policy = definition.retry
        watch = definition.watch
        if policy is None:
            try:
                return await _once(definition, operation)
            except DeadlineExceeded:
                if watch is not None:
                    watch.timed_out()
                raise
        has_timed_out = False
        clock = asyncio.get_running_loop().time
        tries = Tries(definition.name, policy, clock())
        while True:
            try:
                result = await _once(definition, operation)
            except self._failures as error:
                if watch is not None and not has_timed_out and isinstance(error, DeadlineExceeded):
                    has_timed_out = True
                    watch.timed_out()
                if not can_repeat() or (isinstance(error, CodeFailure) and not policy.wants(error.code)):
                    raise
                pause = tries.after_failure(clock(), random.random(), error)
                if pause is None:
                    raise
                if watch is not None and tries.retries == 1:
                    watch.retried()
                if isinstance(error, CodeFailure):
                    error.discard()
            else:
                tries.succeeded()
                return result
            await self._sleep(pause)


async def _once(definition: Definition, operation: Operation[T]) -> T:
    if definition.breaker is None:
        return await _in_time(definition.timeout, operation)
    return await _guarded(definition.breaker, definition, operation)


async def _guarded(breaker: Breaker, definition: Definition, operation: Operation[T]) -> T:
    clock = asyncio.get_running_loop().time
    before = breaker.state(clock())
    generation = breaker.enter(clock())
    is_success = False
    try:
        result = await _in_time(definition.timeout, operation)
        is_success = True
    finally:
        # An operation that was cancelled has failed, too: otherwise a half-open breaker would wait for it for ever.
        breaker.leave(generation, is_success, clock())
        if definition.watch is not None and (after := breaker.state(clock())) != before:
            definition.watch.changed(after)
    return result


async def _in_time(seconds: float, operation: Operation[T]) -> T:
    if not seconds:
        return await operation()
    deadline = asyncio.timeout(seconds)
    try:
        async with deadline:
            return await operation()
    except TimeoutError:
        if deadline.expired():
            raise DeadlineExceeded from None
        raise
