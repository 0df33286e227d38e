"""A channel whose calls pass middleware first (`appHttpPipeline`). Exists only when a Configuration names some.

Called by `blocks.invoke` like any channel. A call becomes an exchange for the middleware; behind the last of them it
becomes a call again and goes on to the channel inside. The middleware runs as a task beside the caller, who has the
answer as soon as its head is there.
"""

import asyncio
from collections.abc import Callable

from pydapr.app import paths
from pydapr.app.channel import Answer, AppChannel, AppUnreachable, Call
from pydapr.lib import urls
from pydapr.net.body import HIGH_WATER, LOW_WATER, Body, BodyError, Disconnected
from pydapr.net.exchange import Exchange, Handler, Headers
from pydapr.wire import headers as names

Pipeline = Callable[[Handler], Handler]
"""Puts all middleware before a handler."""

_NOBODY = "0.0.0.0"


class Pipelined(AppChannel):
    """`inner` behind `pipeline`."""

    def __init__(self, inner: AppChannel, pipeline: Pipeline) -> None:
        self.inner = inner
        self._handle = pipeline(self._call)

    async def invoke(self, call: Call) -> Answer:
        exchange = _AppExchange(call)
        task = asyncio.ensure_future(self._handle(exchange))
        task.add_done_callback(exchange.ended)
        try:
            answer = await exchange.answer
        except asyncio.CancelledError:
            task.cancel()
            raise

        def close() -> None:
            task.cancel()

        return Answer(answer.status, answer.headers, answer.body, close, answer.content_length)

    async def _call(self, exchange: Exchange) -> None:
        """The end of the pipeline: the app."""
        path, _, query = exchange.target.partition(b"?")
        try:
            method = urls.decode(path)
        except ValueError as error:
            raise AppUnreachable(str(error)) from None
        call = Call(
            exchange.method, method.removeprefix("/"), query, exchange.headers, exchange.body, trace=exchange.trace
        )
        answer = await self.inner.invoke(call)
        try:
            headers = answer.headers
            if answer.content_length is not None:
                headers = [*headers, (b"content-length", answer.content_length)]
            if answer.body.is_whole:
                exchange.respond(answer.status, headers, answer.body.take())
                return
            exchange.begin(answer.status, headers)
            while data := await answer.body.read():
                await exchange.write(data)
            exchange.finish()
        except BodyError:
            exchange.abort()
        finally:
            answer.close()

    def close(self) -> None:
        self.inner.close()

    def retire(self) -> None:
        self.inner.retire()


class _AppExchange(Exchange):
    """A call as an exchange; `answer` is there when the head of the answer is."""

    __slots__ = ("_peer", "_room", "answer", "sent")

    def __init__(self, call: Call) -> None:
        self.method = call.verb
        self.target = paths.escape(call.method) + (b"?" + call.query if call.query else b"")
        self.headers = call.headers if call.is_clean else names.forwardable(call.headers)
        self.body = call.body
        self.context = ()
        self.trace = call.trace
        self.is_begun = self.is_finished = False
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.sent = Body(self)
        self._room = asyncio.Event()
        behind = names.first(call.headers, b"x-forwarded-for") or b""
        self._peer = behind.rpartition(b",")[2].strip().decode("latin-1") or _NOBODY

    def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.is_begun = self.is_finished = True
        self._give(status, headers, Body.of(body))

    def begin(self, status: int, headers: Headers) -> None:
        self.is_begun = True
        self._give(status, headers, self.sent)

    def _give(self, status: int, headers: Headers, body: Body) -> None:
        if not self.answer.done():
            length = names.first(headers, b"content-length") if self.method == b"HEAD" else None
            kept = [field for field in headers if field[0] != b"content-length"]
            self.answer.set_result(Answer(status, kept, body, None, length))

    async def write(self, data: bytes) -> None:
        self.sent.feed(data)
        while self.sent.buffered > HIGH_WATER:
            self._room.clear()
            await self._room.wait()

    def finish(self, trailers: Headers = ()) -> None:
        self.is_finished = True
        self.sent.end()

    def abort(self) -> None:
        self.sent.fail(Disconnected("the app broke its answer off"))
        self._fail(AppUnreachable("the app broke its answer off"))

    def ended(self, task: "asyncio.Future[None]") -> None:
        """The pipeline is through, or broke."""
        if task.cancelled():
            error: BaseException | None = Disconnected("the call was given up")
        else:
            error = task.exception()
        if not self.is_finished:
            self.sent.fail(error if isinstance(error, BodyError) else Disconnected(str(error or "no answer")))
        self._fail(error or AppUnreachable("the middleware gave no answer"))

    def _fail(self, error: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    # -- from the body, which the caller reads --

    def body_consumed(self, body: Body, size: int) -> None:
        if body.buffered < LOW_WATER:
            self._room.set()

    def body_wanted(self, body: Body) -> None:
        self._room.set()

    @property
    def peer(self) -> str:
        return self._peer
