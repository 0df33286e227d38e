"""Actors of an app that speaks HTTP: what they are to do, as requests to the app.

A target of `blocks.actors.hosting`, made by `daprd.actors`; goes on to the channel to the app. Paths, bodies and words
are the original's (v1.18.3, `pkg/actors/targets/app/transport/http`).
"""

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from pydapr.app import paths
from pydapr.app.channel import Answer, AppChannel, AppUnreachable, Call
from pydapr.errors import ActorInvokeFailed, DaprError, RpcError
from pydapr.lib import truth
from pydapr.lib.actors import CANCELLED, Actor, Packed, Reminder
from pydapr.net.body import Body, BodyError
from pydapr.policy.runner import DeadlineExceeded, Runner
from pydapr.wire import anyvalues
from pydapr.wire import headers as names

if TYPE_CHECKING:
    from pydapr.policy.resiliency import Resiliency

CANCEL_HEADER = b"x-daprremindercancel"
"""By this an app says that it wants no more of a reminder or timer."""

FINISH_SECONDS = 0.25

_JSON = ((b"content-type", b"application/json"),)
_PROTOBUF = ((b"content-type", b"application/x-protobuf"),)
_REENTRANCY_ID = b"dapr-reentrancy-id"


class HttpActors:
    """Carries what actors are to do to the app. `channel` gives the way to it."""

    def __init__(self, channel: Callable[[], AppChannel | None], policies: "Resiliency | None" = None) -> None:
        self._channel, self._policies = channel, policies
        self._runner = Runner(DaprError, RpcError)

    async def invoke(self, actor: Actor, call: Call, reentrancy_id: str) -> Answer:
        """The answer to a method. Raises `DaprError` and `RpcError`."""
        if self._policies is not None:
            definition = self._policies.actor_after_lock(actor.type, actor.id)
            if definition is not None:
                try:
                    return await self._runner.run(definition, lambda: self._invoke(actor, call), _never)
                except DeadlineExceeded as error:
                    raise ActorInvokeFailed(str(error)) from None
        return await self._invoke(actor, call)

    async def _invoke(self, actor: Actor, call: Call) -> Answer:
        try:
            name = paths.normalize(call.method)
        except paths.Invalid as error:
            raise ActorInvokeFailed(f"invalid method name: {error}") from None
        method = f"actors/{actor.type}/{actor.id}/method/{name}" if name else f"actors/{actor.type}/{actor.id}/method"
        headers = call.headers
        if not call.verb:  # by gRPC bytes are given, and what their metadata say of a type is not for HTTP
            headers = [header for header in headers if header[0] != b"content-type"]
        made = Call(b"PUT", method, call.query, headers, Body.of(call.body.whole()), call.is_clean, call.trace)
        made.says_trace = call.says_trace
        answer = await self._head(made)
        if not answer.body.is_whole:
            await self._read(answer)
        if answer.status == 404:
            raise ActorInvokeFailed(f"actor method not found: {method}")
        if answer.status != 200:
            text = answer.body.whole().decode("utf-8", "replace")
            raise ActorInvokeFailed(f"error from actor service: ({answer.status}) {text}")
        if _is_cancelled(answer):
            raise ActorInvokeFailed(CANCELLED)
        return answer

    async def _head(self, call: Call) -> Answer:
        channel = self._channel()
        if channel is None:
            raise ActorInvokeFailed("app channel for actor type is nil")
        try:
            return await channel.invoke(call)
        except (AppUnreachable, RpcError, BodyError) as error:
            raise ActorInvokeFailed(str(error)) from None

    async def _read(self, answer: Answer) -> bytes:
        """The body of an answer, which has it as a whole from now on."""
        try:
            data = await answer.body.read_all()
            answer.body = Body.of(data)
            return data
        except BodyError as error:
            raise ActorInvokeFailed(str(error)) from None
        finally:
            answer.close()

    async def remind(self, reminder: Reminder, reentrancy_id: str) -> bool:
        """Has a reminder or timer done; whether it is to go on. Raises `DaprError` and `RpcError`."""
        kind = "timer" if reminder.is_timer else "remind"
        fields = []
        if reminder.data is not None and (data := _document(reminder.data)):
            fields.append(b'"data":' + data)
        if reminder.is_timer:
            fields.append(b'"callback":' + _text(reminder.callback))
        fields += (b'"dueTime":' + _text(reminder.due_time), b'"period":' + _text(reminder.period))
        headers = (*_JSON, (_REENTRANCY_ID, reentrancy_id.encode())) if reentrancy_id else _JSON
        body = Body.of(b"{" + b",".join(fields) + b"}")
        call = Call(b"PUT", f"{kind}/{reminder.name}", b"", headers, body, True)
        try:
            await self.invoke(reminder.actor, call, reentrancy_id)
        except ActorInvokeFailed as error:
            if error.message.endswith(CANCELLED):
                return False
            raise
        return True

    async def deactivate(self, actor: Actor) -> None:
        """Tells that an actor is not needed here any more. Raises `DaprError` and `RpcError`."""
        call = Call(b"DELETE", f"actors/{actor.type}/{actor.id}", b"", _PROTOBUF, Body.of(b""), True)
        answer = await self._head(call)
        if answer.status == 200:
            if not answer.body.is_whole:
                await _finish(answer)
            return
        text = (await self._read(answer)).decode("utf-8", "replace")
        raise ActorInvokeFailed(f"error from actor service: ({answer.status}) {text}")


async def _finish(answer: Answer) -> None:
    """Takes what else an app says that nobody needs; a connection on which it does not come soon is given up."""
    try:
        async with asyncio.timeout(FINISH_SECONDS):
            await answer.body.read_all()
    except (TimeoutError, BodyError):
        pass
    finally:
        answer.close()


def _is_cancelled(answer: Answer) -> bool:
    value = names.first(answer.headers, CANCEL_HEADER)
    return value is not None and truth.is_true(value.decode("latin-1"))


def _document(packed: Packed) -> bytes:
    """What a reminder carries, as JSON."""
    try:
        return anyvalues.document(packed.type_url, packed.value)
    except anyvalues.Invalid as error:
        raise ActorInvokeFailed(str(error)) from None


def _text(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")


def _never() -> bool:
    return False
