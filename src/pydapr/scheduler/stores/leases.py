"""Leases of the SQLite store: which there are and when they end. Their keys stand in the file.

They end with the process, and so do their keys: whoever had one grants itself another, as when it has run out.
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterable

from pydapr.net import tasks
from pydapr.scheduler.store import StoreError

LEAST, MOST = 2, 9_000_000_000
"""Bounds of how long a lease lasts in seconds, as of etcd."""

NOT_FOUND = "etcdserver: requested lease not found"
EXISTS = "etcdserver: lease already exists"
TOO_LONG = "etcdserver: too large lease TTL"


class _Lease:
    """One of them, with what ends it."""

    def __init__(self, seconds: int, timer: asyncio.TimerHandle) -> None:
        self.seconds, self.timer = seconds, timer


class Leases:
    """All leases of a store; `end` removes the keys of one that has run out."""

    def __init__(self, end: Callable[[int], Coroutine[None, None, None]]) -> None:
        self._end = end
        self._leases: dict[int, _Lease] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def all(self) -> list[int]:
        return list(self._leases)

    def grant(self, seconds: int, wanted: int = 0) -> int:
        """The number of a new lease, `wanted` if that is not 0. Raises `StoreError`."""
        if seconds > MOST:
            raise StoreError(TOO_LONG)
        if wanted in self._leases:
            raise StoreError(EXISTS)
        lease = wanted or secrets.randbits(62) | 1
        self._leases[lease] = _Lease(max(seconds, LEAST), self._timer(lease, max(seconds, LEAST)))
        return lease

    def keep(self, lease: int) -> int:
        """Has it begin anew; how long it lasts in seconds, 0 when there is none."""
        found = self._leases.get(lease)
        if found is None:
            return 0
        found.timer.cancel()
        found.timer = self._timer(lease, found.seconds)
        return found.seconds

    def left(self, lease: int) -> tuple[int, int] | None:
        """How many seconds it has left, and of how many."""
        found = self._leases.get(lease)
        if found is None:
            return None
        return max(int(found.timer.when() - asyncio.get_running_loop().time()), 0), found.seconds

    def forget(self, lease: int) -> bool:
        """From now on there is no such lease; whether there was."""
        found = self._leases.pop(lease, None)
        if found is not None:
            found.timer.cancel()
        return found is not None

    def check(self, leases: Iterable[int]) -> None:
        """Called by what writes keys. Raises `StoreError` when there is no such lease."""
        if not all(lease in self._leases for lease in leases if lease):
            raise StoreError(NOT_FOUND)

    async def close(self) -> None:
        for one in self._leases.values():
            one.timer.cancel()
        self._leases.clear()
        await tasks.stop(tuple(self._ending))

    def _timer(self, lease: int, seconds: int) -> asyncio.TimerHandle:
        loop = asyncio.get_running_loop()
        return loop.call_later(seconds, self._ran_out, lease)

    def _ran_out(self, lease: int) -> None:
        ending = asyncio.create_task(self._end(lease))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
