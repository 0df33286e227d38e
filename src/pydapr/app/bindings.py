"""What an app is asked and told about input bindings, over HTTP or gRPC. Used by `blocks.bindings`, made by `daprd`.

Over HTTP an app says by OPTIONS of the binding's route whether it takes events, which are posted there; over gRPC by
ListInputBindings, and events come by OnBindingEvent. Rules and words are the original's (v1.18.3,
`pkg/runtime/processor/binding/send.go`).
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Protocol

from pydapr.app.channel import Answer, AppChannel, AppUnreachable, Call, Header
from pydapr.app.grpc import GrpcApp
from pydapr.errors import Code, RpcError
from pydapr.lib import quote
from pydapr.lib.record import Record
from pydapr.net.body import Body, BodyError
from pydapr.policy.runner import CodeFailure
from pydapr.wire import headers as names
from pydapr.wire.tracecontext import Trace

UNREACHED = (AppUnreachable, RpcError, BodyError)
"""What an app's channel raises when a call has no answer."""

_JSON = (b"content-type", b"application/json")
_is_name = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z").match


class Failed(Exception):
    """The app could not be asked, or failed. The message is the reason."""


class Saved(Record):
    """A value that an app wants saved."""

    key: str
    value: bytes
    etag: str = ""
    concurrency: str = ""
    consistency: str = ""
    metadata: Mapping[str, str] = {}


class Reply(Record):
    """What an app answered to an event: data for the binding, and what else is to be done with them."""

    data: bytes = b""
    to: tuple[str, ...] = ()
    """Output bindings that are to have the data."""
    is_parallel: bool = False
    store: str = ""
    states: tuple[Saved, ...] = ()


class Declined(CodeFailure):
    """The app answered an event with another status than 200, which a policy may want tried again."""

    def __init__(self, answer: Answer, most: int = 0) -> None:
        super().__init__(answer.status, f"error sending binding event to application, status {answer.status}")
        self._answer, self._most = answer, most

    def discard(self) -> None:
        self._answer.close()

    async def reply(self) -> "Reply":
        """The app's answer when no other try follows: what is a success all the same. Raises `Failed`."""
        try:
            data = await _read(self._answer, self._most)
        except BodyError as error:
            raise Failed(f"failed to read response body: {error}") from None
        if 200 <= self.code < 300:
            return Reply(data)
        text = data.decode("utf-8", "replace")
        raise Failed(f"fails to send binding event to http app channel, status code: {self.code} body: {text}")


class App(Protocol):
    """An app as bindings see it."""

    def described(self, name: str) -> str:
        """The method that an event of a binding calls, for traces."""

    async def takes(self, name: str, route: str, seconds: float) -> bool:
        """Whether the app wants events of a binding; it has `seconds` to say so. Raises `Failed`."""

    async def give(self, name: str, route: str, data: bytes, metadata: Mapping[str, str], trace: Trace | None) -> Reply:
        """Calls the app with an event. Raises `Declined` and `UNREACHED`."""


class HttpApp:
    """An app that speaks HTTP. `channel` gives the way to it, None while there is none.

    An answer has `most` bytes, 0 for any number.
    """

    def __init__(self, channel: Callable[[], AppChannel | None], most: int = 0) -> None:
        self._channel, self._most = channel, most

    def described(self, name: str) -> str:
        return f"POST /{name}"

    async def takes(self, name: str, route: str, seconds: float) -> bool:
        path, query = _target(route)
        call = Call(b"OPTIONS", path, query, (_JSON,), Body.of(b""))
        try:
            async with asyncio.timeout(seconds):
                answer = await self._invoke(call)
        except TimeoutError:
            raise Failed(f"{_UNASKED}{quote.go(route)}: no answer within {seconds:g}s") from None
        except UNREACHED as error:
            raise Failed(f"{_UNASKED}{quote.go(route)}: {error}") from None
        answer.close()
        return 200 <= answer.status < 300 or answer.status == 405

    async def give(self, name: str, route: str, data: bytes, metadata: Mapping[str, str], trace: Trace | None) -> Reply:
        path, query = _target(route)
        call = Call(b"POST", path, query, _headers(metadata), Body.of(data), trace=trace)
        answer = await self._invoke(call)
        if answer.status != 200:
            raise Declined(answer, self._most)
        return Reply(await _read(answer, self._most))

    async def _invoke(self, call: Call) -> Answer:
        channel = self._channel()
        if channel is None:
            raise AppUnreachable("app channel not initialized")
        return await channel.invoke(call)


_UNASKED = "could not invoke OPTIONS method on input binding subscription endpoint "


async def _read(answer: Answer, most: int) -> bytes:
    try:
        return await answer.body.read_all(most)
    finally:
        answer.close()


def _target(route: str) -> tuple[str, bytes]:
    path, _, query = route.partition("?")
    return path.removeprefix("/"), query.encode("utf-8", "surrogateescape")


def _headers(metadata: Mapping[str, str]) -> list[Header]:
    """What a binding tells of an event as header fields, where it can be one."""
    out = []
    for name, text in metadata.items():
        value = text.strip().encode("utf-8", "replace")
        if _is_name(name) and names.is_clean(value):
            out.append((name.lower().encode(), value))
    return [*(header for header in out if header[0] != b"content-type"), _JSON]


class RpcApp:
    """An app that speaks gRPC. What it says of all bindings is asked once."""

    def __init__(self, app: GrpcApp) -> None:
        self._app = app
        self._taken: frozenset[str] | None = None

    def described(self, name: str) -> str:
        return "/dapr.proto.runtime.v1.AppCallback/OnBindingEvent"

    async def takes(self, name: str, route: str, seconds: float) -> bool:
        """An app that does not answer takes none, as with the original."""
        if self._taken is None:
            from google.protobuf.message import DecodeError

            from pydapr.proto.dapr.proto.runtime.v1 import appcallback_pb2

            try:
                async with asyncio.timeout(seconds):
                    data = await self._app.callback(b"ListInputBindings", b"")
                self._taken = frozenset(appcallback_pb2.ListInputBindingsResponse.FromString(data).bindings)
            except (RpcError, TimeoutError, DecodeError):
                self._taken = frozenset()
        return name in self._taken

    async def give(self, name: str, route: str, data: bytes, metadata: Mapping[str, str], trace: Trace | None) -> Reply:
        from google.protobuf.message import DecodeError

        from pydapr.proto.dapr.proto.runtime.v1 import appcallback_pb2

        request = appcallback_pb2.BindingEventRequest(name=name, data=data, metadata=dict(metadata))
        told = trace.metadata() if trace is not None and trace.is_known else ()
        answer = await self._app.callback(b"OnBindingEvent", request.SerializeToString(), told)
        try:
            found = appcallback_pb2.BindingEventResponse.FromString(answer)
        except DecodeError as error:
            raise RpcError(Code.INTERNAL, f"grpc: failed to unmarshal the received message: {error}") from None
        states = tuple(
            Saved(
                item.key,
                item.value,
                item.etag.value,
                _CONCURRENCY.get(item.options.concurrency, ""),
                _CONSISTENCY.get(item.options.consistency, ""),
                dict(item.metadata),
            )
            for item in found.states
        )
        return Reply(found.data, tuple(found.to), found.concurrency == _PARALLEL, found.store_name, states)


_PARALLEL = 1
_CONCURRENCY = {1: "first-write", 2: "last-write"}
_CONSISTENCY = {1: "eventual", 2: "strong"}
