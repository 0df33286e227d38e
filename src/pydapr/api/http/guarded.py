"""Service invocation over HTTP under policies: tried again, given up in time, or spared.

Called by `api.http.invoke`, and there only when a Resiliency resource concerns apps; goes on to `blocks.invoke`
through `policy.runner`. What counts as a failure and when nothing may be repeated is the original's (v1.18.3,
`pkg/api/http/directmessaging.go`): an answer of the app outside of 200 to 399 is a failure; once the head of an
answer has gone out, or when the request streams, there is no other try.
"""

import asyncio
from collections.abc import Callable

from pydapr.api.http import invoke
from pydapr.app import rpc
from pydapr.app.channel import Answer, Call
from pydapr.blocks.invoke import REPLAYABLE_BYTES, Invoker
from pydapr.errors import DaprError, InvokeFailed
from pydapr.net.body import Body, BodyError
from pydapr.net.exchange import Exchange
from pydapr.observe import logging
from pydapr.policy.breaker import Refused
from pydapr.policy.resiliency import Definition, Resiliency
from pydapr.policy.runner import CodeFailure, DeadlineExceeded, Runner

log = logging.get("dapr.runtime.http")

HELD_BYTES = 256 * 1024
"""What is read of an answer that may be thrown away for another try; the rest of it stays with the app."""


class FailedAnswer(CodeFailure):
    """The app answered with a failure; nothing of it has been passed on."""

    def __init__(self, answer: Answer, held: bytes) -> None:
        super().__init__(answer.status, f"received non-successful status code in response: {answer.status}")
        self.answer = answer
        self.held = held

    def discard(self) -> None:
        self.answer.close()


class PassedOn(Exception):
    """A failure that the caller has got already; it is told for the breaker's sake."""

    def __init__(self, message: str, is_counted: bool) -> None:
        super().__init__(message)
        self.is_counted = is_counted


class GuardedCalls:
    """Answers invocations under policies. `max_body` bounds the bodies of requests, 0 for no bound.

    `failed` hears of each failure of an app that is passed on, unless the request is a stream.
    """

    def __init__(
        self, invoker: Invoker, policies: Resiliency, max_body: int, failed: Callable[[], None] | None = None
    ) -> None:
        self._failed = failed
        self._invoker = invoker
        self._policies = policies
        self._replayable = max_body if max_body > 0 else REPLAYABLE_BYTES
        self._runner = Runner(DaprError)

    async def answer(self, exchange: Exchange, target: str, call: Call) -> None:
        """Answers one exchange; raises `DaprError` when the answer is an error of ours."""
        definition = self._policies.app(target, call.method, asyncio.get_running_loop().time())
        if definition is None:
            is_stream = invoke.is_stream(call.body)
            answer = await self._invoker.invoke(target, call)
            if self._failed is not None and not is_stream and invoke.is_failure(answer):
                self._failed()
            await invoke.pass_on(exchange, answer)
            return
        tries = _Tries(self._invoker, exchange, target, call, definition, self._replayable)
        try:
            await self._runner.run(definition, tries.once, tries.can_repeat)
        except FailedAnswer as failed:
            if self._failed is not None:
                self._failed()
            await invoke.pass_on(exchange, failed.answer, failed.held)
        except PassedOn as passed_on:
            if self._failed is not None and passed_on.is_counted:
                self._failed()
            log.debug(f"HTTP service invocation completed: {passed_on}")
        except (DeadlineExceeded, Refused) as error:
            if exchange.is_begun:
                log.warning(f"HTTP service invocation failed to complete with error: {error}")
            raise InvokeFailed(f"failed to invoke, id: {target}, err: {error}") from None


class _Tries:
    """One call that may be made several times."""

    __slots__ = (
        "_body", "_call", "_data", "_definition", "_exchange", "_invoker", "_is_lost", "_is_stream", "_target",
        "_wants_body",
    )  # fmt: skip

    def __init__(
        self,
        invoker: Invoker,
        exchange: Exchange,
        target: str,
        call: Call,
        definition: Definition,
        replayable: int,
    ) -> None:
        self._invoker = invoker
        self._exchange = exchange
        self._target = target
        self._call = call
        self._definition = definition
        body = self._body = call.body
        is_stream = self._is_stream = invoke.is_stream(body)
        is_long = body.length is not None and body.length > replayable
        self._wants_body = definition.has_retries and not is_stream and not is_long
        self._is_lost = not self._wants_body
        self._data: bytes | None = None

    def can_repeat(self) -> bool:
        return not self._is_lost and not self._exchange.is_begun

    async def once(self) -> None:
        """Calls, and passes the answer on unless another try may follow. Raises `FailedAnswer`, `PassedOn`."""
        answer = await self._invoker.invoke(self._target, await self._fresh_call())
        is_failure = self._is_failure(answer)
        retry = self._definition.retry
        if is_failure and not self._is_lost and retry is not None and retry.wants(answer.status):
            raise FailedAnswer(answer, await _held(answer))
        is_complete = await invoke.pass_on(self._exchange, answer)
        if is_failure or not is_complete:
            is_counted = is_failure and not self._is_stream
            raise PassedOn(f"status {answer.status}" if is_complete else "the answer broke off", is_counted)

    def _is_failure(self, answer: Answer) -> bool:
        if isinstance(answer, rpc.RpcAnswer) and not self._is_stream:
            return False  # as with the original, to which only a status of HTTP says anything here
        return not 200 <= answer.status <= 399

    async def _fresh_call(self) -> Call:
        call = self._call
        if self._wants_body and self._data is None:
            # Within the first try, so that a caller who sends slowly has the policy's time and no more.
            self._is_lost = True
            try:
                self._data = await self._body.read_all()
            except BodyError as error:
                raise InvokeFailed(f"failed to invoke, id: {self._target}, err: {error}") from None
            self._is_lost = False
        body = self._body if self._data is None else Body.of(self._data)
        return Call(call.verb, call.method, call.query, call.headers, body, call.is_clean, call.trace)


async def _held(answer: Answer) -> bytes:
    """The body of an answer that may be thrown away, or its beginning when it is long or breaks off."""
    if answer.body.is_whole:
        return answer.body.take()
    pieces, size = [], 0
    try:
        while size < HELD_BYTES and (piece := await answer.body.read()):
            pieces.append(piece)
            size += len(piece)
    except BodyError:
        pass  # whoever reads on will meet it again
    except BaseException:
        answer.close()
        raise
    return b"".join(pieces)
