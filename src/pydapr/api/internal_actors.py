"""What other sidecars call to reach the actors that live here; part of `api.internal`'s service.

Its methods are in the table of the internal server where there are actors; goes on to `blocks.actors.call`. Words are
the original's (v1.18.3, `pkg/api/grpc/daprinternal.go`).
"""

from collections.abc import Awaitable, Callable, Mapping

from pydapr.app.channel import Call
from pydapr.blocks.actors.call import Actors
from pydapr.errors import Code, DaprError, RpcError
from pydapr.lib.actors import CANCELLED, Actor, Packed, Reminder
from pydapr.net import grpc_server
from pydapr.net.body import Body
from pydapr.net.http2_server import ServerExchange
from pydapr.wire import invocation

SERVICE = b"/dapr.proto.internals.v1.ServiceInvocation/"

Answer = Callable[[ServerExchange, bytes], Awaitable[bytes]]
"""From the request's message to that of the answer. May raise `RpcError`."""

Around = Callable[[bytes, Answer], Answer]
"""Puts something around the answer of a method, given with its path."""


class ActorsApi:
    """Answers calls of other sidecars. `max_message` bounds one message, in bytes."""

    def __init__(self, actors: Actors, max_message: int) -> None:
        self._actors, self._max_message = actors, max_message

    def methods(self, around: Around | None = None) -> Mapping[bytes, grpc_server.Method]:
        """By path, for the server; `around` is put around those that answer with one message."""
        answers: dict[bytes, Answer] = {SERVICE + b"CallActor": self.call, SERVICE + b"CallActorReminder": self.remind}
        if around is not None:
            answers = {path: around(path, answer) for path, answer in answers.items()}
        return {
            **{path: self._unary(answer) for path, answer in answers.items()},
            SERVICE + b"CallActorStream": self.stream,
        }

    def _unary(self, answer: Answer) -> grpc_server.Method:
        async def reply(exchange: ServerExchange) -> None:
            data = await grpc_server.read(exchange, self._max_message)
            grpc_server.reply(exchange, await answer(exchange, data))

        return reply

    async def call(self, exchange: ServerExchange, data: bytes) -> bytes:
        """Calls an actor."""
        try:
            request = invocation.decode_request(data)
        except invocation.Invalid as invalid:
            raise RpcError(Code.INTERNAL, f"grpc: error unmarshalling request: {invalid}") from None
        method = request.method.decode("utf-8", "surrogateescape")
        actor = _actor(request.actor or (b"", b""))
        trace = exchange.trace
        if trace is not None and trace.record is not None:
            trace.record.called_actor(actor.type, actor.id, method)
        call = Call(b"PUT", method, request.query, request.headers, Body.of(request.data), True, trace)
        call.says_trace = request.says_trace
        try:
            answer = await self._actors.invoke(actor, call, True)
        except DaprError as error:
            raise _status(error) from None
        return invocation.encode_response(answer.status, answer.headers, answer.body.take())

    async def remind(self, exchange: ServerExchange, data: bytes) -> bytes:
        """Has a reminder or timer done."""
        try:
            reminder = _reminder(data)
        except invocation.Invalid as invalid:
            raise RpcError(Code.INTERNAL, f"grpc: error unmarshalling request: {invalid}") from None
        try:
            goes_on = await self._actors.remind(reminder, True)
        except DaprError as error:
            raise _status(error) from None
        if not goes_on:
            raise RpcError(Code.UNKNOWN, CANCELLED)
        return b""

    async def stream(self, exchange: ServerExchange) -> None:
        """Would answer with several messages: no actor of an app does, and the original refuses it with these words."""
        await grpc_server.read(exchange, self._max_message)
        raise RpcError(Code.UNKNOWN, "not implemented")


def _actor(names: tuple[bytes, bytes]) -> Actor:
    return Actor(names[0].decode("utf-8", "replace"), names[1].decode("utf-8", "replace"))


def _reminder(data: bytes) -> Reminder:
    """A `Reminder` of the internal protocol; 100 is our own field. Raises `Invalid`."""
    texts: dict[int, str] = {}
    numbers: dict[int, int] = {}
    packed: Packed | None = None
    for number, value in invocation.fields(data):
        if isinstance(value, int):
            numbers[number] = value
        elif number == 4:
            parts = dict(invocation.fields(value))
            url = invocation.text(parts.get(1, b""))
            packed = Packed(url, invocation.octets(parts.get(2, b"")))
        elif number in (1, 2, 3, 5, 7, 100):
            texts[number] = invocation.text(value)
    return Reminder(
        Actor(texts.get(2, ""), texts.get(1, "")),
        texts.get(3, ""),
        packed,
        texts.get(7, ""),
        texts.get(5, ""),
        texts.get(100, ""),
        bool(numbers.get(9)),
        bool(numbers.get(10)),
    )


def _status(error: DaprError) -> RpcError:
    told = error.for_grpc()
    return RpcError(told.grpc, told.message)
