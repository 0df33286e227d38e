"""middleware.http.wasm hands requests and answers to a WebAssembly module of the user's (a guest).

    url: file:///guests/router.wasm
    guestConfig: '{"anything": "the guest understands"}'

Guests speak the http-wasm handler ABI (`drivers.httpwasm`). They run in threads, so that a slow one holds up nobody
else; one that does not end is stopped after ten seconds. A guest that fails is thrown away and its request answered
with 500.
"""

import asyncio
import functools
import threading
from concurrent.futures import CancelledError, Future

from pydapr.components import component, option, options
from pydapr.components.drivers import httpwasm, thread, wasm
from pydapr.components.drivers.httpwasm import BUFFER_REQUEST, BUFFER_RESPONSE, HttpGuest, Turn
from pydapr.components.drivers.wasm import GuestFailed
from pydapr.components.middleware import Middleware, refuse
from pydapr.net.body import Body, BodyError, Disconnected
from pydapr.net.exchange import Exchange, Handler, Header, Headers
from pydapr.net.wrapped import Wrapped
from pydapr.observe import logging
from pydapr.wire import headers as names

log = logging.get("dapr.contrib")

MAX_IDLE = 16
"""Instances kept for the next requests."""

BODY_SECONDS = 60.0
"""How long a guest may wait for the next bytes of a request."""


@options
class Options:
    url: str = option("Where the module is: `file://`, `http://` or `https://`.")
    guest_config: str = option("What the module may ask for as its configuration.", default="")
    strict_sandbox: bool = option("Show the module made-up times and random numbers, always the same.", default=False)


@component("middleware.http.wasm", Options)
class Wasm(Middleware):
    def __init__(self, options: Options) -> None:
        import wasmtime  # noqa: F401 - to tell at start when it is missing

        self._options = options
        self._runner: httpwasm.HttpRunner | None = None
        self._idle: list[HttpGuest] = []
        self._reading: set[Future[bytes]] = set()

    async def open(self) -> None:
        code = await wasm.fetch(self._options.url)
        config = self._options.guest_config.encode()
        try:
            self._runner = await thread.run(httpwasm.HttpRunner, code, self._options.strict_sandbox, config)
            # The first one is made now: what cannot start should not wait for a request.
            self._give_back(await self._runner.run(self._runner.make))
        except GuestFailed as error:
            raise ValueError(f"wasm: error instantiating guest: {error}") from None
        except ValueError as error:
            raise ValueError(f"wasm: {error}") from None

    async def close(self) -> None:
        if self._runner is None:
            return
        self._runner.closing.set()  # first: who begins to wait for bytes from now on sees it
        for future in tuple(self._reading):
            future.cancel()
        await self._runner.close()

    def wrap(self, inner: Handler) -> Handler:
        return functools.partial(self._handle, inner)

    async def _handle(self, inner: Handler, exchange: Exchange) -> None:
        runner = self._runner
        assert runner is not None
        more = functools.partial(self._more, exchange.body, asyncio.get_running_loop(), runner.closing)
        turn = Turn(exchange.method, exchange.target, list(exchange.headers), exchange.peer, more)
        turn.protocol = exchange.protocol
        idle = self._idle.pop() if self._idle else None
        failure: Exception | None = None
        try:
            guest, said = await runner.run(_first_call, runner, idle, turn)
            if not said & 0xFFFFFFFF:
                self._give_back(guest)
                _release(exchange, turn)
            else:
                failure = await self._go_on(inner, exchange, guest, turn, said >> 32)
        except GuestFailed as error:
            log.error(f"wasm guest {wasm.name_of(self._options.url)} failed: {error}")
            if not exchange.is_begun:
                refuse(exchange, 500, f"wasm error: {error}")
        if failure is not None:
            raise failure

    async def _go_on(
        self, inner: Handler, exchange: Exchange, guest: HttpGuest, turn: Turn, context: int
    ) -> Exception | None:
        """Calls the handler behind, then the guest for the answer. Gives back what else is to be raised."""
        assert self._runner is not None
        _change(exchange, turn)
        collects = turn.features & BUFFER_RESPONSE or turn.status or turn.has_written_answer
        behind = _Collecting(exchange, turn) if collects else _Passing(exchange, turn)
        failure: Exception | None = None
        try:
            await inner(behind)
        except Exception as error:
            failure = error
        if behind.is_broken:
            failure = failure or Disconnected("the answer broke off")
        if failure is not None:
            turn.forget_answer()
        after = self._runner.start(guest.handle_response, context, failure is not None)
        # Who asked may have all of the answer and go before the guest has seen it.
        after.add_done_callback(functools.partial(self._done, guest))
        await self._runner.wait(after)
        if failure is not None and not (collects and (turn.status or turn.has_written_answer)):
            if not behind.is_broken:
                return failure
            exchange.abort()
        elif collects:
            _release(exchange, turn)
        return None

    def _done(self, guest: HttpGuest, after: "asyncio.Future[None]") -> None:
        if not after.cancelled() and after.exception() is None:
            self._give_back(guest)

    def _give_back(self, guest: HttpGuest) -> None:
        guest.let_go()
        if len(self._idle) < MAX_IDLE:
            self._idle.append(guest)

    def _more(self, body: Body, loop: asyncio.AbstractEventLoop, closing: threading.Event) -> bytes:
        """The next bytes of a request, for a guest in its thread."""
        future = asyncio.run_coroutine_threadsafe(body.read(), loop)
        self._reading.add(future)
        if closing.is_set():
            future.cancel()
        try:
            return future.result(BODY_SECONDS)
        except TimeoutError:
            future.cancel()
            raise GuestFailed("no more bytes of the request came in time") from None
        except (BodyError, CancelledError) as error:
            raise GuestFailed(f"error reading body: {error}") from None
        finally:
            self._reading.discard(future)


def _first_call(runner: httpwasm.HttpRunner, guest: HttpGuest | None, turn: Turn) -> tuple[HttpGuest, int]:
    guest = guest or runner.make()
    return guest, guest.handle_request(turn)


def _change(exchange: Exchange, turn: Turn) -> None:
    """What the guest has made of the request."""
    exchange.method, exchange.target, exchange.headers = turn.method, turn.target, turn.headers
    if turn.written is not None:
        exchange.body.discard()
        exchange.body = Body.of(bytes(turn.written))
    elif turn.has_read:
        first = bytes(turn.seen) if turn.features & BUFFER_REQUEST else b""
        exchange.body = _Rest(first + turn.unread, exchange.body)
    else:
        return
    exchange.headers = [field for field in turn.headers if field[0] != b"content-length"]


def _release(exchange: Exchange, turn: Turn) -> None:
    """Sends the answer that a guest has made or changed."""
    status = turn.status or 200
    if exchange.method == b"HEAD" and names.first(turn.answer_headers, b"content-length") is not None:
        exchange.begin(status, turn.answer_headers)
        exchange.finish()
        return
    kept = [field for field in turn.answer_headers if field[0] not in names.FRAMING]
    exchange.respond(status, kept, bytes(turn.answer_body))


def _merged(turn: Turn, headers: Headers) -> list[Header]:
    """The fields that the guest has set before, and those of the answer, which count more."""
    told = {name for name, _ in headers}
    return [*(field for field in turn.answer_headers if field[0] not in told), *headers]


class _Answer(Wrapped):
    """What stands between the handler behind and who asked."""

    __slots__ = ("_turn", "is_broken")

    def __init__(self, inner: Exchange, turn: Turn) -> None:
        super().__init__(inner)
        self._turn = turn
        self.is_broken = False

    def abort(self) -> None:
        self.is_broken = True


class _Passing(_Answer):
    """Sends the answer on while it comes; the guest may look at its head."""

    __slots__ = ()

    def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self._see(status, headers)
        super().respond(status, self._turn.answer_headers, body)

    def begin(self, status: int, headers: Headers) -> None:
        self._see(status, headers)
        super().begin(status, self._turn.answer_headers)

    def _see(self, status: int, headers: Headers) -> None:
        self._turn.status, self._turn.answer_headers = status, _merged(self._turn, headers)


class _Collecting(_Answer):
    """Keeps the answer for the guest."""

    __slots__ = ()

    def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.begin(status, headers)
        self._turn.answer_body += body
        self.finish()

    def begin(self, status: int, headers: Headers) -> None:
        self.is_begun = True
        turn = self._turn
        if turn.features & BUFFER_RESPONSE or (not turn.status and not turn.has_written_answer):
            turn.status = status
        turn.answer_headers = _merged(turn, headers)

    async def write(self, data: bytes) -> None:
        self._turn.answer_body += data

    def finish(self, trailers: Headers = ()) -> None:
        self.is_finished = True


class _Rest(Body):
    """Bytes that have been read already, and what still comes."""

    __slots__ = ("_from",)

    def __init__(self, first: bytes, source: Body) -> None:
        super().__init__(None, None)
        self._from = source
        if source.is_whole:
            first += source.take()
        if first:
            self.feed(first)
        if source.is_whole:
            self.end()

    def limit(self, size: int) -> None:
        if self.ended:
            super().limit(size)
        else:
            self._from.limit(max(size - self.buffered, 0))

    async def read(self) -> bytes:
        while not self.buffered and not self.ended:
            data = await self._from.read()
            if data:
                self.feed(data)
            else:
                self.end()
        return self.take()
