"""The sidecars of all namespaces: their streams on one side, the rounds of their namespace on the other.

Made by `service`. Orders go out behind each other without waiting for anybody; a sidecar that takes none of them any
more is closed.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from pydapr.errors import Code, RpcError
from pydapr.lib import durations
from pydapr.net.body import BodyError
from pydapr.net.grpc_stream import Stream
from pydapr.observe import logging
from pydapr.placement import orders, rounds

log = logging.get("dapr.placement.server.loops.disseminator")
stream_log = logging.get("dapr.placement.server.loops.stream")

MOST_ORDERS = 32
"""Orders that wait for one sidecar. There are no more than a few, unless nobody waits for what it says."""


class Sidecar:
    """One stream. The task that reads it is cancelled when we end it, and finds the reason in `ended`."""

    def __init__(self, stream: Stream, peer: str, with_gzip: bool, may_speak: Callable[[], bool]) -> None:
        self._stream = stream
        self._may_speak = may_speak
        self.peer = peer
        self.with_gzip = with_gzip
        self.ended: RpcError | None = None
        task = asyncio.current_task()
        assert task is not None
        self._reader = task
        self._waiting: deque[bytes] = deque()
        self._sender: asyncio.Task[None] | None = None

    def post(self, frame: bytes) -> None:
        """Sends it behind those before."""
        if self.ended is not None:
            return
        if len(self._waiting) >= MOST_ORDERS:
            self.end(RpcError(Code.RESOURCE_EXHAUSTED, "the sidecar takes no orders"))
            return
        self._waiting.append(frame)
        if self._sender is None:
            self._sender = asyncio.create_task(self._send())

    async def _send(self) -> None:
        try:
            while self._waiting and self._may_speak():  # it may have been long since they were posted
                await self._stream.send_frame(self._waiting.popleft())
        except BodyError:
            pass  # whoever reads hears of it, too
        finally:
            self._sender = None

    def end(self, reason: RpcError) -> None:
        """Ends the stream with an error."""
        if self.ended is None:
            self.ended = reason
            stream_log.info(f"Closing connection to {self.peer}: {reason.message}")
            self._reader.cancel()

    def close(self) -> None:
        """Nobody reads any more; nothing is sent."""
        self._waiting.clear()
        if self._sender is not None:
            self._sender.cancel()


class Namespace:
    """The sidecars of one namespace. Nothing is ordered while `may_speak` says no."""

    def __init__(
        self, name: str, may_speak: Callable[[], bool], timeout: float, window: float, replication_factor: int
    ) -> None:
        self._name = name
        self._may_speak = may_speak
        self._timeout = timeout
        self._replication_factor = replication_factor
        self.rounds = rounds.Rounds(timeout, window)
        self.sidecars: dict[int, Sidecar] = {}
        self._count = 0
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._update: tuple[rounds.Table, orders.Frames] | None = None

    def join(self, sidecar: Sidecar, host: rounds.Host) -> int:
        """The number of the stream from now on."""
        self._count += 1
        self.sidecars[self._count] = sidecar
        self._carry_out(self.rounds.join(self._count, host, self._loop.time()))
        return self._count

    def report(self, stream: int, operation: int, version: int | None, host: rounds.Host) -> None:
        self._carry_out(self.rounds.report(stream, operation, version, host, self._loop.time()))

    def leave(self, stream: int) -> None:
        del self.sidecars[stream]
        self._carry_out(self.rounds.leave(stream, self._loop.time()))

    def close(self) -> None:
        """Nothing more is ordered."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self._timer = None
        self._carry_out(self.rounds.tick(self._loop.time()))

    def _carry_out(self, actions: Sequence[rounds.Action]) -> None:
        if actions and not self._may_speak():
            return
        for action in actions:
            if isinstance(action, rounds.Order):
                self._order(action)
            else:
                self._end(action)
        self._set_timer()

    def _set_timer(self) -> None:
        """Wakes the rounds when they have something to do. A timer that is early does no harm and stays."""
        due = self.rounds.due
        if self._timer is not None:
            if due is not None and self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._tick) if due is not None else None

    def _order(self, order: rounds.Order) -> None:
        frames = self._frames(order)
        for stream in order.streams:
            sidecar = self.sidecars.get(stream)
            if sidecar is not None:
                sidecar.post(frames.zipped if sidecar.with_gzip else frames.plain)

    def _frames(self, order: rounds.Order) -> orders.Frames:
        """The bytes of an order; those with the table are kept for sidecars that come later."""
        if order.table is None:
            return orders.Frames(self._name, order, self._replication_factor)
        if self._update is None or self._update[0] is not order.table:
            self._update = order.table, orders.Frames(self._name, order, self._replication_factor)
        return self._update[1]

    def _end(self, late: rounds.Close) -> None:
        log.warning(f"Dissemination timeout for version {late.version}")
        text = f"dissemination timeout after {durations.text(self._timeout)} for version {late.version}"
        for stream in late.streams:
            sidecar = self.sidecars.get(stream)
            if sidecar is not None:
                log.warning(f"Closing non-responding stream {self._name}:{stream}")
                sidecar.end(RpcError(Code.DEADLINE_EXCEEDED, text))


class Namespaces:
    """All of them. A namespace is there as long as it has streams."""

    def __init__(self, may_speak: Callable[[], bool], timeout: float, window: float, replication_factor: int) -> None:
        self._options = may_speak, timeout, window, replication_factor
        self._found: dict[str, Namespace] = {}

    def of(self, name: str) -> Namespace:
        """The namespace, made when it is not there yet."""
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = Namespace(name, *self._options)
        return found

    def leave(self, name: str, stream: int) -> None:
        """A stream has ended."""
        namespace = self._found[name]
        namespace.leave(stream)
        if not namespace.sidecars:
            namespace.close()
            del self._found[name]

    def tables(self) -> dict[str, tuple[int, tuple[rounds.Host, ...]]]:
        """Version and hosts of each."""
        return {name: (one.rounds.version, one.rounds.hosts()) for name, one in self._found.items()}

    def counts(self) -> dict[str, tuple[int, int]]:
        """How many sidecars each has, and how many of them host actors."""
        return {name: (one.rounds.streams, one.rounds.actor_streams) for name, one in self._found.items()}
