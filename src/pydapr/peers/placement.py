"""The sidecar at placement: says which actor types it hosts, is told who hosts which, and obeys the rounds.

Made by `daprd.actors`; tells a `Follower` (`blocks.actors.placed`) what placement says. One stream carries it all: we
report our types, at first and when they change; placement answers with orders, `lock`, `update` and `unlock`, each of
which we acknowledge when it is done (v1.18.3, `pkg/actors/internal/placement/loops`). What is promised:

- `run` goes on until it is cancelled, whatever becomes of placement. Each address is tried in turn, and each that a
  name stands for; one that answers that it is not the leader costs no pause. When all were tried without a round,
  there is one of 0.25 to 0.75 seconds.
- The follower is told one thing at a time, and told `lost` as soon as a stream was lost. The next one is opened
  meanwhile, so that a placement that is new counts us in before it gives to others what is still here; but no table is
  taken, and acknowledged, before the follower has let go. If that is too long for placement, it is waited for first.
- A stream is given up when a round does not come from its announcement to its table within `disseminate_seconds`, or
  not from there to its end within `UNLOCK_SECONDS`; when placement gives no sign of life for a quarter of a minute; and
  when it says what cannot be understood.
- The follower hears `alive` twice a second. A process that stood still asks placement first: what was said meanwhile,
  that it was given up, say, comes before the answer.
- `run` that is cancelled says first that it hosts nothing any more, and does as in any round, so that others get its
  actors after they have left here. Where that takes longer than `LEAVE_SECONDS`, it lets them go by itself.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from pydapr.errors import Code, RpcError
from pydapr.lib.record import Record
from pydapr.net import dial, grpc_client, http2_client, http2_pool, keepalive, lookup
from pydapr.observe import logging
from pydapr.wire import http2
from pydapr.wire import placement as messages

log = logging.get("dapr.runtime.actors.placement.loops.placement")
_stream_log = logging.get("dapr.runtime.actors.placement.loops.stream")
_round_log = logging.get("dapr.runtime.actors.placement.loops.disseminator")

METHOD = b"/dapr.proto.placement.v1.Placement/ReportDaprStatus"
API_LEVEL = 20
MAX_TABLE = 256 << 20
"""Bytes of a table: it has an entry for each type of each sidecar, which lists all types of that sidecar."""

PAUSE_SECONDS = (0.25, 0.75)
UNLOCK_SECONDS = 120.0
"""How long a round may take that has its table. The others have their drain times until it ends, and placement gives up
who takes too long: this is for a placement that has forgotten."""

LEAVE_SECONDS = 3.0
HALT_SECONDS = 5.0
TOLD_SECONDS = 30.0
"""Between two lines of the log that placement cannot be reached."""

BEAT_SECONDS = 0.5
STILL_SECONDS = 2.0
"""A beat so late means that this process stood still. Placement misses it after two seconds at the soonest
(`--keepalive-time` and `--keepalive-timeout` are one at least)."""

ORDERS = 16
"""Orders that wait until one is carried out."""

PATIENCE = http2_pool.Patience(quiet=12.0)
"""Placement gives a sign of life every two seconds, ten at most (`--keepalive-time`). To ask it sooner than that is not
allowed by gRPC's servers."""

_LOCK, _UPDATE, _UNLOCK = "lock", "update", "unlock"


class Me(Record):
    """This sidecar, as placement shall know it. `name` is the address of its internal port."""

    name: str
    app_id: str
    namespace: str


class Follower(Protocol):
    """Who is told what placement says."""

    async def update(self, members: Mapping[str, Mapping[str, str]], replicas: int) -> None: ...
    def unlock(self) -> Sequence[str]: ...
    def alive(self) -> None: ...
    async def lost(self) -> None: ...
    def close(self) -> None: ...


class _Ended(Exception):
    """A stream is over. `is_elsewhere` says that another placement leads."""

    def __init__(self, reason: str, is_elsewhere: bool = False) -> None:
        super().__init__(reason)
        self.is_elsewhere = is_elsewhere


class Client:
    """Follows placement at `addresses`. `types` answers which types are hosted now; `report` says that they changed.

    `on_round` is called at the end of every round, `on_ready` at that of the first of each stream."""

    def __init__(
        self,
        addresses: Sequence[str],
        connect: http2_pool.Connector,
        with_tls: bool,
        me: Me,
        follower: Follower,
        types: Callable[[], Sequence[str]],
        disseminate_seconds: float,
    ) -> None:
        self._addresses = addresses
        self._connect = connect
        self._with_tls = with_tls
        self._me = me
        self._follower = follower
        self._types = types
        self._disseminate_seconds = disseminate_seconds
        self._changed = asyncio.Event()
        self._is_quiet = False
        """The stream before ended because another placement leads: not worth a line."""
        self._told_at = -TOLD_SECONDS
        self._letting_go: asyncio.Task[None] | None = None
        """What followed the loss of a stream, if there was one."""
        self.is_connected = False
        """Whether a round has ended on the stream there is."""
        self.on_ready: Callable[[], None] = _nothing
        self.on_round: Callable[[], None] = _nothing

    def report(self) -> None:
        """What `types` answers has changed."""
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        pool = http2_pool.Pool(self._connect, http2.Limits(), PATIENCE)
        try:
            while True:
                was_connected = False
                for address in self._addresses:
                    for place in await self._places(address):
                        was_connected |= await self._follow(pool, place)
                if not was_connected:
                    await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
        finally:
            try:
                await self._let_go()
            finally:
                pool.close()

    async def _places(self, address: str) -> Sequence[str]:
        """What an address stands for: each placement behind it may be the one that leads."""
        try:
            host, port = dial.split(address)
            if dial.needs_no_lookup(host):
                return [address]
            found = [place for place, _ in await lookup.places(host, port)]
        except (OSError, ValueError) as error:
            self._failed(f"failed to connect to placement service: {error}")
            return []
        return [f"[{place}]:{port}" if ":" in place else f"{place}:{port}" for place in found]

    def _failed(self, reason: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._told_at >= TOLD_SECONDS:
            self._told_at = now
            log.error(f"Failed to connect to placement service: {reason}. Retrying...")
        else:
            log.debug(f"Failed to connect to placement service: {reason}. Retrying...")

    async def _let_go(self) -> None:
        self._follower.close()
        try:
            async with asyncio.timeout(HALT_SECONDS):
                if self._letting_go is not None:
                    await self._letting_go
                await self._follower.lost()
        except TimeoutError:
            log.error("Failed to halt all actors during placement shutdown: context deadline exceeded")

    # -- one stream --

    async def _follow(self, pool: http2_pool.Pool, address: str) -> bool:
        """One stream, from its beginning to its end. Whether a round has ended on it."""
        log.debug(f"Attempting to connect to placement {address}")
        try:
            connection = await pool.connection(address)
            stream = grpc_client.Stream(connection, METHOD, address, self._with_tls, max_message=MAX_TABLE)
        except http2_pool.Unreachable as error:
            self._failed(f"failed to open stream to placement service: {error}")
            return False
        session = _Session(
            connection, stream, self._me, self._follower, self._letting_go, self._disseminate_seconds, self._unlocked
        )
        try:
            await self._speak(session, address)
        except asyncio.CancelledError:
            log.info("Placement client shutting down")
            await self._leave(session)
            raise
        finally:
            stream.close()
            was_connected, self.is_connected = self.is_connected, False
        if session.has_orders:
            if self._letting_go is not None:
                await asyncio.shield(self._letting_go)
            self._letting_go = asyncio.create_task(self._follower.lost())
        return was_connected

    async def _speak(self, session: "_Session", address: str) -> None:
        tell = log.debug if self._is_quiet else log.info
        tell(f"Connected to placement service: {address}")
        tell(f"Reporting initial host to placement service with initial types [{' '.join(sorted(self._types()))}]")
        try:
            await session.run(self._types, self._changed)
        except _Ended as ended:
            self._is_quiet = ended.is_elsewhere
            tell = log.debug if ended.is_elsewhere else log.info
            tell(f"Placement stream closed: {ended}. Reconnecting...")

    async def _leave(self, session: "_Session") -> None:
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await session.leave()
        except (TimeoutError, _Ended) as error:
            log.debug(f"Placement was left without a round: {error}")

    def _unlocked(self, version: int, types: Sequence[str]) -> None:
        """A round has ended."""
        me = self._me
        _round_log.info(
            f"Dissemination complete for version {version} (changed types [{' '.join(types)}]), unlocking "
            f"disseminator {me.namespace}/{me.app_id}"
        )
        self._told_at = -TOLD_SECONDS
        self.on_round()
        if not self.is_connected:
            self.is_connected = True
            self.on_ready()


class _Session:
    """What is said on one stream. Ends by `_Ended`, or by being cancelled."""

    def __init__(
        self,
        connection: http2_client.ClientConnection,
        stream: grpc_client.Stream,
        me: Me,
        follower: Follower,
        letting_go: "asyncio.Task[None] | None",
        disseminate_seconds: float,
        on_unlock: Callable[[int, Sequence[str]], None],
    ) -> None:
        self._letting_go = letting_go
        self._connection = connection
        self._stream = stream
        self._me = me
        self._follower = follower
        self._disseminate_seconds = disseminate_seconds
        self._on_unlock = on_unlock
        self._orders: asyncio.Queue[messages.Order] = asyncio.Queue(ORDERS)
        self._pending: messages.Order | None = None
        """The order that is being carried out."""
        self._reported: Sequence[str] | None = None
        self._phase = _UNLOCK
        self._version = 0
        self.has_orders = self._is_leaving = False

    async def run(self, types: Callable[[], Sequence[str]], changed: asyncio.Event) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read())
                tasks.create_task(self._report(types, changed))
                tasks.create_task(self._beat())
                while True:
                    self._pending = await self._next()
                    await self._obey(self._pending)
                    self._pending = None
        except BaseExceptionGroup as group:
            if group.split(_Ended)[1] is not None:
                raise
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError from None  # it came together with the end, and the group has hidden it
            raise _first(group) from None

    async def leave(self) -> None:
        """Has placement give what is here to others, and lets it go before they have it. Ends by `_Ended`."""
        if not self._reported or not self.has_orders:
            return
        await self._say([], False)
        while True:
            order = self._pending or await self._received()
            self._pending = None
            await self._obey(order)
            if order.operation == _UPDATE and not any(self._me.name in hosts for hosts in order.members.values()):
                break
        try:
            self._is_leaving = True
            await self._stream.end()
        except RpcError as error:
            raise _Ended(str(error)) from None
        while True:  # until placement has seen it
            await self._message()

    # -- what comes --

    async def _read(self) -> None:
        """Takes what comes, so that the end of the stream is seen whatever is being carried out."""
        while True:
            message = await self._message()
            await self._orders.put(message)

    async def _message(self) -> messages.Order:
        try:
            data = await self._stream.receive()
            if data is None:
                raise _Ended("EOF")
            return messages.order(data)
        except RpcError as error:
            is_elsewhere = error.code == Code.FAILED_PRECONDITION and "is not a leader" in error.message
            tell = _stream_log.debug if is_elsewhere or self._is_leaving else _stream_log.warning
            tell(f"Error receiving from stream: {error}")
            raise _Ended(str(error), is_elsewhere) from None
        except messages.Invalid as fault:
            raise _Ended(f"placement said what is no order: {fault}") from None

    async def _received(self) -> messages.Order:
        return await self._message() if self._orders.empty() else self._orders.get_nowait()

    async def _next(self) -> messages.Order:
        """The next order, if it comes in time."""
        seconds = {_LOCK: self._disseminate_seconds, _UPDATE: UNLOCK_SECONDS}.get(self._phase)
        try:
            async with asyncio.timeout(seconds):
                return await self._orders.get()
        except TimeoutError:
            _round_log.warning(f"Dissemination timeout for version {self._version}, closing stream to reconnect")
            raise _Ended(f"dissemination timeout after {seconds:g}s for version {self._version}") from None

    async def _obey(self, order: messages.Order) -> None:
        operation, version = order.operation, order.version
        _round_log.debug(f"Handling placement order={operation} version={version}")
        self.has_orders = True
        if operation == _LOCK:
            self._phase, self._version = _LOCK, version
            await self._done(messages.LOCK, version)
        elif operation == _UPDATE:
            if version < self._version:
                raise _Ended(f"version mismatch: expected {self._version}, got {version}")
            if self._letting_go is not None:
                await asyncio.shield(self._letting_go)
            await self._follower.update(order.members, order.replicas)
            self._phase = _UPDATE
            await self._done(messages.UPDATE, self._version)
        elif operation == _UNLOCK:
            await self._unlock(version)
        else:
            raise _Ended(f"unknown operation: {operation}")

    async def _unlock(self, version: int) -> None:
        if self._phase != _UPDATE:
            _round_log.warning("Invalid operation sequence: expected UPDATE before UNLOCK, ignoring unlock")
            return
        if version < self._version:
            _round_log.error(f"Version mismatch: expected {self._version}, got {version}, ignoring unlock")
            return
        self._phase, self._version = _UNLOCK, version
        self._on_unlock(version, self._follower.unlock())
        await self._done(messages.UNLOCK, version)

    async def _beat(self) -> None:
        """Notices when this process stood still: others may have been given what is here."""
        asked = 0
        while True:
            self._follower.alive()
            slept_at = keepalive.now()
            await asyncio.sleep(BEAT_SECONDS)
            if keepalive.now() - slept_at < STILL_SECONDS:
                continue
            _round_log.warning("This process stood still: asking placement whether it has been missed")
            asked += 1
            payload = asked.to_bytes(8, "big")
            self._connection.ask(payload)
            is_answered = False
            while not is_answered:
                is_answered = self._connection.pong == payload
                await asyncio.sleep(0.01)  # the end of the stream, if it came with the answer, is told before

    # -- what goes --

    async def _report(self, types: Callable[[], Sequence[str]], changed: asyncio.Event) -> None:
        """Says which types are here: now, and whenever they have changed."""
        while True:
            changed.clear()
            now = sorted(types())
            if now != self._reported:
                self._reported = now
                await self._say(now, self._letting_go is not None)
            await changed.wait()

    async def _say(self, types: Sequence[str], returns: bool) -> None:
        me = self._me
        await self._send(messages.report(me.app_id, me.namespace, me.name, types, API_LEVEL, returns))

    async def _done(self, operation: int, version: int) -> None:
        await self._send(messages.acknowledgement(operation, self._me.app_id, self._me.namespace, version))

    async def _send(self, message: bytes) -> None:
        try:
            await self._stream.send(message)
        except RpcError as error:
            raise _Ended(str(error)) from None


def _first(group: BaseExceptionGroup[BaseException]) -> _Ended:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, _Ended)
    return found


def _nothing() -> None:
    pass
