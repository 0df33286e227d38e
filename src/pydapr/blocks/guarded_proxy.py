"""Proxying under policies: a call that passes through is made again, given up in time, or spared.

Called by `api.grpc.proxy`, and there only when a Resiliency resource concerns apps; goes on to `blocks.proxy`
through `policy.runner`. What the policies stand around is the original's (v1.18.3, `pkg/api/grpc/proxy/handler.go`):
a unary call from its beginning to its end; of a call with the metadata `dapr-stream` only the way to a connection,
since nobody can tell beforehand how long a stream is to last. The app beside this sidecar has no policies.
"""

import asyncio
from collections.abc import Awaitable, Callable

from pydapr.blocks.proxy import Proxy
from pydapr.errors import Code, RpcError
from pydapr.lib import truth
from pydapr.net import grpc_server, relay, replay
from pydapr.net.http2_server import ServerExchange
from pydapr.policy.breaker import Refused
from pydapr.policy.resiliency import Definition, Resiliency
from pydapr.policy.runner import CodeFailure, DeadlineExceeded, Runner
from pydapr.wire import headers as names


class FailedCall(CodeFailure):
    """The call was begun and has failed; the client has not been told yet."""

    def __init__(self, failed: replay.Failed) -> None:
        super().__init__(failed.code, str(failed))
        self.failed = failed


class GuardedProxy:
    """Passes calls on under policies.

    `max_message` bounds each message in either direction; messages of up to `kept` bytes are kept for retries.
    """

    def __init__(self, proxy: Proxy, policies: Resiliency, max_message: int, kept: int) -> None:
        self._proxy = proxy
        self._policies = policies
        self._max_message = max_message
        self._kept = kept
        self._runner = Runner(RpcError)

    async def pass_on(self, named: str, target: str, exchange: ServerExchange) -> int:
        """Passes a call on to `target` under the policies for `named`; the status it ended with. Raises `RpcError`."""
        definition = None
        if await self._proxy.is_other(named):
            method = exchange.target.decode("utf-8", "surrogateescape")
            definition = self._policies.app(named, method, asyncio.get_running_loop().time())
        if definition is None:
            call = relay.Relay(exchange, self._max_message)
            await self._proxy.pass_on(target, call)
            return _ended(exchange, call.code, call.message)
        if truth.is_true(names.first(exchange.headers, b"dapr-stream") or b""):
            return await self._stream(definition, target, exchange)
        return await self._unary(definition, target, exchange)

    async def _unary(self, definition: Definition, target: str, exchange: ServerExchange) -> int:
        call = replay.Replay(exchange, self._max_message, self._kept if definition.has_retries else 0)

        async def once() -> None:
            try:
                await self._proxy.pass_on(target, call)
            except replay.Failed as failed:
                raise FailedCall(failed) from None

        try:
            await self._run(definition, exchange, once, lambda: call.can_repeat)
        except FailedCall as failure:
            failure.failed.tell(exchange)
            return _ended(exchange, failure.code, failure.failed.message)
        return Code.OK

    async def _stream(self, definition: Definition, target: str, exchange: ServerExchange) -> int:
        handshake = replay.Handshake(exchange, self._max_message)
        await self._run(definition, exchange, lambda: self._proxy.pass_on(target, handshake), lambda: True)
        call = relay.Relay(exchange, self._max_message)
        if not await call.run(handshake.connection, handshake.block):
            await self._proxy.pass_on(target, call)
        return _ended(exchange, call.code, call.message)

    async def _run(
        self,
        definition: Definition,
        exchange: ServerExchange,
        once: Callable[[], Awaitable[None]],
        can_repeat: Callable[[], bool],
    ) -> None:
        """Runs `once` under the policies; its tries have the time together that the client gives the call."""
        timeout = exchange.fields.get(b"grpc-timeout")
        try:
            if timeout is None:
                await self._runner.run(definition, once, can_repeat)
            else:
                async with asyncio.timeout(grpc_server.seconds(timeout)):
                    await self._runner.run(definition, once, can_repeat)
        except (TimeoutError, DeadlineExceeded):
            raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded") from None
        except Refused as error:
            raise RpcError(Code.UNKNOWN, str(error)) from None


def _ended(exchange: ServerExchange, code: int, message: str) -> int:
    """`code`; where the call is traced, its span says why it has failed."""
    if code and exchange.trace is not None and exchange.trace.record is not None:
        exchange.trace.record.failed(message)
    return code
