"""The components of one type behind a socket: one for each set of metadata that a daprd comes with.

Made by the command line; `state`, `pubsub`, `bindings` and `secretstores` say what the services of a kind do. A daprd
names a component by its resource (`x-component-instance`), and two may have the same name for different metadata: whose
connection has begun with which metadata counts, and the name alone after a connection was lost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydapr.components import Part, pluggable
from pydapr.errors import Code, RpcError
from pydapr.net import grpc_server, reflection, tasks
from pydapr.net.body import BodyError
from pydapr.net.grpc_stream import Stream
from pydapr.net.http2_server import ServerExchange
from pydapr.observe import logging

if TYPE_CHECKING:
    from google.protobuf.message import Message

    Request = TypeVar("Request", bound=Message)
    Asked = TypeVar("Asked", bound=Message)

log = logging.get("dapr.component")

MOST = 256
"""Different components of one process at a time; those that nobody is connected to make room for others."""

OPEN_SECONDS = 60.0
"""How long a component may take to open; daprd gives up before, as a rule."""

CLOSE_SECONDS = 5.0
"""How long it may take to close."""

MAX_MESSAGE = 64 << 20

Make = Callable[[Mapping[str, str]], Part]
"""A component for metadata, not open yet. Raises `ValueError`."""

Key = tuple[str, frozenset[tuple[str, str]]]
"""The name that a daprd has for a component, and the metadata."""


class Parts:
    """The components that are open, and which of them a call means."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._open: dict[Key, Part] = {}
        self._by_connection: dict[tuple[Any, str], Key] = {}
        self._turn = asyncio.Lock()
        self.streams: set[asyncio.Task[None]] = set()
        """What reads the streams that are open."""

    async def begin(self, exchange: ServerExchange, properties: Mapping[str, str]) -> None:
        """Opens the component of a name for these metadata, unless it is open. Raises `RpcError`."""
        name = _name(exchange)
        key = name, frozenset(properties.items())
        async with self._turn:
            if key not in self._open:
                if len(self._open) >= MOST:
                    await self._make_room()
                self._open[key] = await self._opened(name, dict(properties))
        self._by_connection[exchange.half.connection, name] = key

    def part(self, exchange: ServerExchange) -> Part:
        """The component that a call means. Raises `RpcError`."""
        name = _name(exchange)
        key = self._by_connection.get((exchange.half.connection, name))
        if key is not None:
            return self._open[key]
        named = [known for known in self._open if known[0] == name]
        if len(named) == 1:
            self._by_connection[exchange.half.connection, name] = named[0]
            return self._open[named[0]]
        reason = "has not been initialized" if not named else "was initialized with several sets of metadata"
        raise RpcError(Code.FAILED_PRECONDITION, f"component {name!r} {reason}; start daprd anew")

    async def end_streams(self) -> None:
        await tasks.stop(self.streams)

    async def close(self) -> None:
        """Ends what is under way, and closes all components."""
        await self.end_streams()
        closing, self._open = self._open, {}
        await asyncio.gather(*[_close(name, part) for (name, _), part in closing.items()])

    async def _make_room(self) -> None:
        """Closes the oldest component that nobody is connected to. Raises `RpcError` when there is none."""
        for gone in [known for known in self._by_connection if known[0].is_lost]:
            del self._by_connection[gone]
        used = set(self._by_connection.values())
        unused = next((key for key in self._open if key not in used), None)
        if unused is None:
            raise RpcError(Code.RESOURCE_EXHAUSTED, f"there are {MOST} components with different metadata already")
        await _close(unused[0], self._open.pop(unused))

    async def _opened(self, name: str, properties: dict[str, str]) -> Part:
        part: Part | None = None
        try:
            part = self._make(properties)
            async with asyncio.timeout(OPEN_SECONDS):
                await part.open()
        except BaseException as error:
            if part is not None:
                await _close(name, part)
            if isinstance(error, ModuleNotFoundError):
                reason = f"it needs the library {error.name}, which is not installed"
            elif isinstance(error, OSError | ValueError):
                reason = str(error) or f"it has not opened within {OPEN_SECONDS:g} s"
            elif isinstance(error, Exception):
                reason = f"unexpected error: {error!r}"
            else:
                raise
            log.error(f"Component {name} could not be opened")  # the reason may show metadata, which may be secret
            raise RpcError(Code.UNKNOWN, reason) from None
        log.info(f"Component {name} is open")
        return part


async def _close(name: str, part: Part) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await part.close()
    except Exception as fault:  # others are closed all the same
        log.error(f"Component {name} could not be closed: {type(fault).__name__}")


def _name(exchange: ServerExchange) -> str:
    return exchange.fields.get(pluggable.INSTANCE, b"").decode("utf-8", "replace")


class Services:
    """The methods of some services, in the making. `modules` declares them, for reflection."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._names: list[str] = []
        self._methods: dict[bytes, grpc_server.Method] = {}

    def add(self, service: str, method: str, work: grpc_server.Method) -> None:
        """One method with the exchange for itself."""
        name = f"{pluggable.PACKAGE}.{service}"
        if name not in self._names:
            self._names.append(name)
        self._methods[f"/{name}/{method}".encode()] = _told(work)

    def unary(
        self,
        service: str,
        method: str,
        kind: "type[Request]",
        work: "Callable[[ServerExchange, Request], Awaitable[Message]]",
    ) -> None:
        """One method with one request and one answer. `work` may raise `RpcError`."""

        async def answer(exchange: ServerExchange) -> None:
            data = await grpc_server.read(exchange, MAX_MESSAGE)
            try:
                async with asyncio.timeout(_seconds(exchange)):
                    answered = await work(exchange, decode(kind, data))
            except TimeoutError:
                raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded") from None
            grpc_server.reply(exchange, answered.SerializeToString())

        self.add(service, method, answer)

    def beginning(self, service: str, kind: "type[Request]", answer: "type[Message]") -> None:
        """Init and Ping, which are the same for all."""
        from pydapr.proto.dapr.proto.components.v1 import common_pb2

        async def init(exchange: ServerExchange, request: Any) -> "Message":
            await self.parts.begin(exchange, request.metadata.properties)
            return answer()

        async def ping(exchange: ServerExchange, request: "Message") -> "Message":
            return common_pb2.PingResponse()

        self.unary(service, "Init", kind, init)
        self.unary(service, "Ping", common_pb2.PingRequest, ping)

    def featured(self, service: str, hidden: frozenset[str] = frozenset()) -> None:
        """Features, without those that the protocol has no call for."""
        from pydapr.proto.dapr.proto.components.v1 import common_pb2

        async def features(exchange: ServerExchange, request: "Message") -> "Message":
            listed = [one for one in self.parts.part(exchange).features if one not in hidden]
            return common_pb2.FeaturesResponse(features=listed)

        self.unary(service, "Features", common_pb2.FeaturesRequest, features)

    def handler(self) -> grpc_server.Methods:
        """All of it, with the reflection by which a daprd finds it."""
        shown = reflection.Reflection((*self._names, *reflection.OWN))
        methods = {f"/{name}/ServerReflectionInfo".encode(): shown.serve for name in reflection.OWN}
        return grpc_server.Methods({**self._methods, **methods})


class Answers:
    """What was sent down a stream, and waits for the client's word on it."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._count = 0
        self._is_over = False

    async def ask(self, send: Callable[[str], Awaitable[None]]) -> Any:
        """Sends a message under an id of its own, and what was answered to that. Raises `Gone` when nothing will be."""
        if self._is_over:
            raise Gone
        self._count += 1
        id_ = str(self._count)
        waiter = self._waiting[id_] = asyncio.get_running_loop().create_future()
        try:
            await send(id_)
            return await waiter
        except BodyError:
            raise Gone from None
        finally:
            self._waiting.pop(id_, None)

    def answer(self, id_: str, what: Any) -> None:
        waiter = self._waiting.get(id_)
        if waiter is not None and not waiter.done():
            waiter.set_result(what)

    def end(self) -> None:
        """Nothing more is answered."""
        self._is_over = True
        for waiter in self._waiting.values():
            if not waiter.done():
                waiter.set_exception(Gone())


class Gone(Exception):
    """The client has gone without a word on a message."""


async def reading(parts: Parts, stream: Stream, take: Callable[[bytes], None]) -> None:
    """Gives `take` each message until the client ends the stream, or the process its work. Raises `RpcError`."""

    async def read() -> None:
        while (data := await stream.next()) is not None:
            take(data)

    task = asyncio.create_task(read())
    parts.streams.add(task)
    try:
        await asyncio.wait((task,))
    finally:
        parts.streams.discard(task)
        await tasks.stop((task,))
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


def _told(work: grpc_server.Method) -> grpc_server.Method:
    """`work`, whose faults are told to the client: a component may be anybody's."""

    async def carry_out(exchange: ServerExchange) -> None:
        try:
            await work(exchange)
        except (RpcError, BodyError):
            raise
        except Exception as fault:
            # Its text is for the client only: it may hold what the client gave as metadata.
            what = exchange.target.decode("utf-8", "replace")
            log.error(f"Unexpected {type(fault).__name__} while answering {what}")
            raise RpcError(Code.UNKNOWN, f"unexpected error: {fault!r}") from None

    return carry_out


def decode(kind: "type[Asked]", data: bytes) -> "Asked":
    """The message in `data`. Raises `RpcError`."""
    from google.protobuf.message import DecodeError

    try:
        return kind.FromString(data)
    except DecodeError:
        raise RpcError(Code.INTERNAL, "grpc: error unmarshalling request") from None


def _seconds(exchange: ServerExchange) -> float | None:
    timeout = exchange.fields.get(b"grpc-timeout")
    return grpc_server.seconds(timeout) if timeout is not None else None
