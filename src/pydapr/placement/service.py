"""What sidecars call: `ReportDaprStatus`, one stream for each of them.

Made by `runtime`. Only a leader answers, and it asks `leadership` before it says anything: a leader that stood still
may find that another has taken its place.
"""

import asyncio
import json
from typing import TYPE_CHECKING, Protocol

from pydapr.errors import Code, RpcError
from pydapr.net import grpc_server
from pydapr.net.grpc_stream import Stream
from pydapr.observe import logging
from pydapr.placement import authorization, orders
from pydapr.placement.namespaces import Namespaces, Sidecar
from pydapr.wire import hpack

if TYPE_CHECKING:
    from pydapr.net.http2_server import ServerExchange
    from pydapr.placement.namespaces import Namespace
    from pydapr.proto.dapr.proto.placement.v1.placement_pb2 import Host
    from pydapr.security import spiffe

log = logging.get("dapr.placement.server")
stream_log = logging.get("dapr.placement.server.loops.stream")

PATH = b"/dapr.proto.placement.v1.Placement/ReportDaprStatus"
GZIP_HEAD_BLOCK = hpack.encode((*grpc_server.HEAD, (b"grpc-encoding", b"gzip")))
MAX_MESSAGE = 4 << 20


class Leadership(Protocol):
    """Whether this process may serve."""

    def holds(self) -> bool: ...


class Service:
    """The sidecars of this process. With mTLS each must be who it says it is."""

    def __init__(self, id_: str, namespaces: Namespaces, leadership: Leadership, with_tls: bool) -> None:
        self._id = id_
        self._namespaces = namespaces
        self._leadership = leadership
        self._with_tls = with_tls
        self._is_stopping = False
        self._open: set[Sidecar] = set()
        """All streams, also those that have not said anything yet."""

    def methods(self) -> grpc_server.Methods:
        return grpc_server.Methods({PATH: self._report})

    def step_down(self) -> None:
        """Another may lead from now on."""
        self._end_all(self._not_leading())

    def stop(self) -> None:
        """Ends all streams: the process does."""
        self._is_stopping = True
        self._end_all(_stopping())

    def _end_all(self, reason: RpcError) -> None:
        """Ends all streams at once, without another round."""
        for sidecar in self._open:
            sidecar.end(reason)

    def state(self) -> bytes:
        """What the tables say, as JSON; null from those that do not lead, as with the original."""
        if not self._leadership.holds():
            return b"null"
        return json.dumps(orders.page(self._namespaces.tables()), separators=(",", ":"), ensure_ascii=False).encode()

    async def _report(self, exchange: "ServerExchange") -> None:
        self._check()
        identity = authorization.client(exchange.peer_identity) if self._with_tls else None
        stream = Stream(exchange, MAX_MESSAGE)
        sidecar = Sidecar(stream, exchange.peer, _takes_gzip(exchange), self._leadership.holds)
        self._open.add(sidecar)
        try:
            first = await self._next(stream, identity)
            if first is not None:
                self._check()
                if sidecar.with_gzip:
                    exchange.begin_block(GZIP_HEAD_BLOCK)
                await self._follow(sidecar, stream, identity, first)
        except asyncio.CancelledError:
            if sidecar.ended is None:
                raise
            self._reset_cancellation()
            raise sidecar.ended from None
        finally:
            self._open.discard(sidecar)
            sidecar.close()
        stream.finish()

    async def _follow(self, sidecar: Sidecar, stream: Stream, identity: "spiffe.Id | None", first: "Host") -> None:
        """Has a sidecar take part until it has no more to say; `first` is what it has said first."""
        log.info(
            "Received status report connection from new "
            f"namespace={first.namespace} id={first.id} host={first.name} peer={sidecar.peer}"
        )
        namespace = self._namespaces.of(first.namespace)
        number = namespace.join(sidecar, orders.host(first))
        try:
            await self._take(stream, identity, namespace, number)
        finally:
            self._namespaces.leave(first.namespace, number)

    async def _take(self, stream: Stream, identity: "spiffe.Id | None", namespace: "Namespace", number: int) -> None:
        """Takes what a sidecar says until it has no more to say."""
        while (said := await self._next(stream, identity)) is not None:
            self._check()
            version = said.version if said.HasField("version") else None
            namespace.report(number, said.operation, version, orders.host(said))

    async def _next(self, stream: Stream, identity: "spiffe.Id | None") -> "Host | None":
        """What a sidecar says, if it may. Raises `RpcError`."""
        data = await stream.next()
        if data is None:
            return None
        said = orders.read(data)
        try:
            authorization.check(said, identity)
        except RpcError as error:
            stream_log.warning(f"Authorization failed for {said.namespace}/{said.id}: {error.message}")
            raise
        return said

    def _check(self) -> None:
        """Raises `RpcError` unless this process serves."""
        if self._is_stopping:
            raise _stopping()
        if not self._leadership.holds():
            raise self._not_leading()

    def _not_leading(self) -> RpcError:
        text = f"node id={self._id} is not a leader. Only the leader can serve requests"
        return RpcError(Code.FAILED_PRECONDITION, text)

    @staticmethod
    def _reset_cancellation() -> None:
        """We have cancelled the task ourselves, to end it with an error."""
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()


def _stopping() -> RpcError:
    return RpcError(Code.UNAVAILABLE, "placement server is shutting down")


def _takes_gzip(exchange: "ServerExchange") -> bool:
    accepted = exchange.fields.get(b"grpc-accept-encoding", b"")
    return b"gzip" in [one.strip() for one in accepted.split(b",")]
