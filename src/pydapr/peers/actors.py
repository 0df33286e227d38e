"""Actors that live elsewhere: a call of one is one `CallActor` on the internal port of the sidecar that hosts it.

The remote of `blocks.actors.call`, made by `daprd.actors`; goes on to `net.http2_pool`, on the connections of
`peers.sidecar`. As with the original (v1.18.3, `pkg/actors/router`), so that an original may stand on the other side.
"""

from typing import TYPE_CHECKING

from pydapr.app.channel import Answer, Call
from pydapr.errors import Code, RpcError
from pydapr.lib.actors import CANCELLED, Actor, Host, Reminder
from pydapr.net import http2_client
from pydapr.net.body import Body, BodyError, Disconnected, TooLarge
from pydapr.peers.sidecar import Sidecars
from pydapr.wire import grpc, invocation
from pydapr.wire import headers as names

if TYPE_CHECKING:
    from pydapr.observe.metrics_grpc import GrpcMetrics

SERVICE = b"/dapr.proto.internals.v1.ServiceInvocation/"
CALL, REMIND = SERVICE + b"CallActor", SERVICE + b"CallActorReminder"

CALLBACK = b"\xa2\x06"
"""Field 100 of `Reminder`: what the app is to do for a timer. The original has none, and passes over ours."""


class ActorSidecars:
    """Calls actors by the sidecars that host them. `most` bounds one message, in bytes."""

    def __init__(self, sidecars: Sidecars, namespace: str, most: int) -> None:
        self._sidecars, self._namespace, self._most = sidecars, namespace, most
        self.metrics: GrpcMetrics | None = None

    async def invoke(self, host: Host, actor: Actor, call: Call) -> Answer:
        """The answer of an actor. Raises `RpcError`."""
        data = encode_request(actor, call)
        block = call.trace.block() if call.trace is not None else b""
        reply = await self._call(host, CALL, data, block)
        try:
            response = invocation.decode_response(reply)
        except invocation.Invalid as error:
            raise RpcError(Code.INTERNAL, f"grpc: error unmarshalling response: {error}") from None
        return Answer(response.code or 200, response.headers, Body.of(response.data))

    async def remind(self, host: Host, reminder: Reminder) -> bool:
        """Has a reminder or timer done; whether it is to go on. Raises `RpcError`."""
        try:
            await self._call(host, REMIND, encode_reminder(reminder), b"")
        except RpcError as error:
            if error.message.endswith(CANCELLED):
                return False
            raise
        return True

    async def _call(self, host: Host, path: bytes, message: bytes, trace: bytes) -> bytes:
        """The message that a method answers with."""
        work = self._exchange(host, path, message, trace)
        return await (work if self.metrics is None else self.metrics.asked(path, message, work))

    async def _exchange(self, host: Host, path: bytes, message: bytes, trace: bytes) -> bytes:
        if len(message) > self._most:
            raise RpcError(
                Code.RESOURCE_EXHAUSTED, f"trying to send message larger than max ({len(message)} vs. {self._most})"
            )
        request = await self._sidecars.open(host.address, host.app_id, self._namespace, path, message, trace)
        try:
            return await _answer(request, self._most)
        except Disconnected as lost:
            code = Code.UNAVAILABLE if request.reset_code is None else grpc.code_of_reset(request.reset_code)
            raise RpcError(code, str(lost)) from None
        except TooLarge as error:
            raise RpcError(Code.RESOURCE_EXHAUSTED, str(error)) from None
        except BodyError as broken:
            raise RpcError(Code.UNKNOWN, str(broken)) from None
        finally:
            request.close()


def encode_request(actor: Actor, call: Call) -> bytes:
    """A call as `InternalInvokeRequest`."""
    headers = call.headers if call.is_clean else names.forwardable(call.headers)
    if not call.verb:  # as `app.actors` has it
        headers = [header for header in headers if header[0] != b"content-type"]
    content_type = names.first(headers, b"content-type") or b""
    message = invocation.field(b"\x0a", call.method.encode("utf-8", "surrogateescape"))
    data = call.body.whole()
    if data:
        message += invocation.field(b"\x12", invocation.field(b"\x12", data))
    if content_type:
        message += invocation.field(b"\x1a", content_type)
    number = invocation.VERB_NUMBERS.get(call.verb, 4)
    extension = b"\x08" + invocation.varint(number)
    if call.query:
        extension += invocation.field(b"\x12", call.query)
    message += invocation.field(b"\x22", extension)
    who = invocation.given_text(b"\x0a", actor.type) + invocation.given_text(b"\x12", actor.id)
    return b"".join(
        (b"\x08\x01", invocation.entries(headers), invocation.field(b"\x1a", message), invocation.field(b"\x22", who))
    )


def encode_reminder(reminder: Reminder) -> bytes:
    """A reminder as `Reminder` of the internal protocol."""
    parts = [
        invocation.given_text(b"\x0a", reminder.actor.id),
        invocation.given_text(b"\x12", reminder.actor.type),
        invocation.given_text(b"\x1a", reminder.name),
    ]
    if reminder.data is not None:
        packed = invocation.field(b"\x0a", reminder.data.type_url.encode()) + invocation.field(
            b"\x12", reminder.data.value
        )
        parts.append(invocation.field(b"\x22", packed))
    parts.append(invocation.text_field(b"\x2a", reminder.period))
    parts.append(invocation.text_field(b"\x3a", reminder.due_time))
    if reminder.is_timer:
        parts.append(b"\x48\x01")
    if reminder.skips_turn:
        parts.append(b"\x50\x01")
    parts.append(invocation.text_field(CALLBACK, reminder.callback))
    return b"".join(parts)


async def _answer(request: http2_client.Request, most: int) -> bytes:
    head = dict(request.headers or await request.head())
    status = head.get(b":status", b"0")
    if status != b"200":
        number = int(status) if status.isdigit() else 0
        raise RpcError(grpc.code_of_http(number), f"unexpected HTTP status code received from server: {number}")
    reader = grpc.MessageReader(most, head.get(b"grpc-encoding", b"identity"))
    messages: list[bytes] = []
    while len(messages) < 2 and (data := await request.body.read()):
        messages += reader.feed(data)
    if len(messages) < 2 and request.trailers != grpc.OK_TRAILERS:
        ended = grpc.status_of(request.trailers or list(head.items()))
        if ended is None:
            raise RpcError(Code.INTERNAL, "server closed the stream without sending trailers")
        if ended.code != Code.OK:
            raise ended.error()
    if len(messages) != 1:
        raise RpcError(Code.INTERNAL, f"the call was answered with {len(messages)} messages")
    return messages[0]
