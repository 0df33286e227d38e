"""Pluggable components: processes of somebody else's making that offer components over gRPC on Unix sockets.

A socket in a folder (`DAPR_COMPONENTS_SOCKETS_FOLDER`) is a component: its file's name without the last extension is
that of the type, and gRPC reflection tells which kinds it is of. Asked by `daprd.components` for the types that
resources name; the classes of the kinds are in `pluggable_state` and its siblings, which call through a `Link`.

Facts: v1.18.3, `pkg/components/pluggable`, `dapr/proto/components/v1`. Unlike there, sockets are asked only when a
resource may mean them; a component that has started anew is given its metadata again; and streams are made again.
"""

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydapr.components import FIRST_VERSIONS, Found, Part, option, options, pluggable
from pydapr.errors import Code, RpcError
from pydapr.net import dial, grpc_client, http2_pool
from pydapr.observe import logging
from pydapr.wire import http2
from pydapr.wire.invocation import Invalid, fields

if TYPE_CHECKING:
    from google.protobuf.message import Message

    M = TypeVar("M", bound=Message)

log = logging.get("pluggable-components-grpc-connector")

CALL_SECONDS = 60.0
"""How long one call may take; policies may give it less."""

ASK_SECONDS = 5.0
"""How long a socket may take to say what it offers."""

MAX_MESSAGE = 64 << 20

_REFLECTION = ("grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection")
_LIST_SERVICES = b"\x3a\x01*"
_PATIENCE = http2_pool.Patience(connect=5.0, asks=False, keeps=True)
_AUTHORITY = "localhost"

_Identity = tuple[int, ...]


@options
class Options:
    properties: Mapping[str, str] = option("Whatever the component takes.", takes_rest=True, default_factory=dict)


class Link:
    """The calls of one component to its process, over connections that are made again when they are lost.

    `begin` is awaited before any call to a process that has not had it yet; it calls with `bare`. All other methods
    raise `RpcError`, within `CALL_SECONDS`, and as long again when a process has to begin first.
    """

    def __init__(self, path: str, name: str) -> None:
        self.path, self.name = path, name
        self._metadata = ((pluggable.INSTANCE, name.encode()),)
        self._pool: http2_pool.Pool | None = None
        self._connected_to: _Identity = ()
        self._began_with: _Identity | None = None
        self._begin: Callable[[], Any] = _nothing
        self._beginning = asyncio.Lock()

    async def open(self, begin: Callable[[], Any]) -> None:
        self._begin = begin
        await self._connection()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()

    async def call(self, service: str, method: str, request: "Message", answer: "type[M]") -> "M":
        """The answer to one request."""
        return await self._call(await self._connection(), service, method, request, answer)

    async def bare(self, service: str, method: str, request: "Message", answer: "type[M]") -> "M":
        """As `call`, for what comes before all calls."""
        return await self._call(await self._connect(), service, method, request, answer)

    async def stream(self, service: str, method: str) -> grpc_client.Stream:
        """A call with streams both ways, just begun."""
        connection = await self._connection()
        path = f"/{pluggable.PACKAGE}.{service}/{method}".encode()
        return grpc_client.Stream(connection, path, _AUTHORITY, False, self._metadata, MAX_MESSAGE)

    async def services(self) -> frozenset[str]:
        """The full names of what the process offers, as it says itself."""
        unknown: RpcError | None = None
        for reflection in _REFLECTION:
            connection = await self._connect()
            path = f"/{reflection}/ServerReflectionInfo".encode()
            try:
                answer = await grpc_client.call(connection, path, _AUTHORITY, _LIST_SERVICES, ASK_SECONDS, False)
                return _listed(answer)
            except RpcError as error:
                if error.code != Code.UNIMPLEMENTED:
                    raise
                unknown = error
        assert unknown is not None
        raise unknown

    async def _call(self, connection: Any, service: str, method: str, request: "Message", answer: "type[M]") -> "M":
        from google.protobuf.message import DecodeError

        path = f"/{pluggable.PACKAGE}.{service}/{method}".encode()
        data = request.SerializeToString()
        got = await grpc_client.call(
            connection, path, _AUTHORITY, data, CALL_SECONDS, False, self._metadata, max_message=MAX_MESSAGE
        )
        try:
            return answer.FromString(got)
        except DecodeError as error:
            raise RpcError(Code.INTERNAL, f"grpc: failed to unmarshal the received message: {error}") from None

    async def _connection(self) -> Any:
        """A connection to a process that knows its metadata."""
        connection = await self._connect()
        if self._knows:
            return connection
        try:
            async with asyncio.timeout(CALL_SECONDS):
                while not self._knows:
                    async with self._beginning:
                        if not self._knows:  # else whoever was before has told it
                            told = self._connected_to
                            await self._begin()
                            self._began_with = told
                    connection = await self._connect()
        except TimeoutError:
            text = f"{self.path}: the process did not take its metadata within {CALL_SECONDS:g} s"
            raise RpcError(Code.DEADLINE_EXCEEDED, text) from None
        return connection

    @property
    def _knows(self) -> bool:
        """Whether the process that was connected to last has its metadata."""
        return self._began_with == self._connected_to

    async def _connect(self) -> Any:
        if self._pool is None:
            self._pool = http2_pool.Pool(self._dial, http2.Limits(), _PATIENCE)
        ready = self._pool.ready(self.path)
        if ready is not None:
            return ready
        try:
            return await self._pool.connection(self.path)
        except http2_pool.Unreachable as error:
            reason = str(error).removeprefix("dial tcp ").removeprefix(f"{self.path}: ")
            text = f'connection error: desc = "transport: Error while dialing: dial unix {self.path}: {reason}"'
            raise RpcError(Code.UNAVAILABLE, text) from None

    async def _dial(self, path: str, factory: dial.Factory) -> object:
        before = _identity(path)
        connected = await dial.unix(path, factory)
        # Who listens is told by the socket: a process that starts anew makes another one.
        self._connected_to = before + _identity(path)
        return connected


class Plugged(Part, ABC):
    """What the classes of all kinds have in common: they begin and end with their `Link`."""

    _link: Link

    async def open(self) -> None:
        try:
            await self._link.open(self._begin)
        except RpcError as error:
            raise OSError(str(error)) from None

    async def close(self) -> None:
        self._link.close()

    @abstractmethod
    async def _begin(self) -> None:
        """What a process is told before any call. Raises `RpcError`."""


async def _nothing() -> None:
    """What is begun with before `open`."""


def _identity(path: str) -> _Identity:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _listed(answer: bytes) -> frozenset[str]:
    """The services in an answer of the reflection service. Raises `RpcError`."""
    try:
        found = [value for number, value in fields(answer) if number == 6 and isinstance(value, bytes)]
        services = [value for one in found for number, value in fields(one) if number == 1 and isinstance(value, bytes)]
        names = [value for one in services for number, value in fields(one) if number == 1 and isinstance(value, bytes)]
    except Invalid as error:
        raise RpcError(Code.INTERNAL, f"the answer of its reflection service makes no sense: {error}") from None
    return frozenset(name.decode("utf-8", "replace") for name in names)


# -- what is there --


async def offered(path: str) -> frozenset[str]:
    """The services of a socket. Raises `RpcError`."""
    link = Link(path, "")
    try:
        return await link.services()
    finally:
        link.close()


async def find(
    type_: str, version: str, name: str, environ: Mapping[str, str], is_built_in: bool = False
) -> Found | None:
    """The pluggable component of a type for the resource `name`; None when there is none. Raises `OSError`.

    The usual folder is below /tmp, where anybody may put something: only a socket of our own user, or of root's, takes
    the place of what `is_built_in`.
    """
    kind, _, wanted = type_.lower().partition(".")
    services = pluggable.SERVICES.get(kind)
    if services is None or version.lower() not in FIRST_VERSIONS:
        return None
    found = None
    for stem, path in pluggable.sockets(environ):
        if stem.lower() != wanted:
            continue
        if is_built_in and not pluggable.is_ours(path):
            log.warning(f"socket {path} belongs to another user, and does not take the place of {type_}")
            continue
        try:
            has = await offered(path)
        except RpcError as error:
            raise OSError(f"the pluggable component at {path} does not say what it offers: {error}") from None
        there = [service for service in services if f"{pluggable.PACKAGE}.{service}" in has]
        if there:
            # Of several the last one counts, as in the original.
            found = _found(type_, kind, path, name, there, has)
    return found


def _found(type_: str, kind: str, path: str, name: str, services: Sequence[str], has: frozenset[str]) -> Found:
    for service in services:
        what = f"{pluggable.PACKAGE}.{service}"
        log.info(f"pluggable component '{type_.partition('.')[2]}' was successfully registered for '{what}'")
    if kind == "state":
        from pydapr.components.drivers import pluggable_state

        return Found(type_, lambda given: pluggable_state.Pluggable(Link(path, name), given, has), Options)
    if kind == "pubsub":
        from pydapr.components.drivers import pluggable_pubsub

        return Found(type_, lambda given: pluggable_pubsub.Pluggable(Link(path, name), given), Options)
    if kind == "bindings":
        from pydapr.components.drivers import pluggable_bindings

        return Found(type_, lambda given: pluggable_bindings.make(Link(path, name), given, services), Options)
    from pydapr.components.drivers import pluggable_secretstores

    return Found(type_, lambda given: pluggable_secretstores.Pluggable(Link(path, name), given), Options)
