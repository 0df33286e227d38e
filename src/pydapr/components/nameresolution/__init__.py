"""Name resolution: from an app id to the addresses of the sidecars that serve it.

`daprd/runtime.py` opens one resolver and registers the sidecar itself; `blocks/invoke.py` asks it for each
call and hands the address to `peers/sidecar.py`. Components: `mdns` (as upstream), `local` (the SQLite
registry under the Dapr home) and `standard`, the self-hosted default that combines both.

The caller does the round-robin: it walks over the tuple it is given, whose order stays the same while its
members do. At the end: what every component needs to tell a live sidecar from a corpse on this machine.
"""

import asyncio
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from pydapr.lib.record import Record

Addresses = tuple[str, ...]
Clock = Callable[[], float]

NAMES = 1024
"""Names that are remembered at most."""

NOBODY_SECONDS = 1.0


class Instance(Record):
    """One running sidecar; `address` is host:port (IPv6 in brackets) of its internal gRPC server."""

    app_id: str
    namespace: str
    address: str
    http_port: int = 0
    app_port: int = 0


class NotFound(Exception):
    """No live sidecar has this app id; `looked` names each place that was asked, for people to read."""

    def __init__(self, app_id: str, looked: Addresses = ()) -> None:
        super().__init__(app_id, looked)
        self.app_id, self.looked = app_id, looked

    def __str__(self) -> str:
        places = f" (looked in {'; '.join(self.looked)})" if self.looked else ""
        return f"couldn't find service: {self.app_id}{places}"


class NotInitialized(NotFound):
    """There is no resolver."""

    def __str__(self) -> str:
        return "name resolver not initialized"


class Log(Protocol):
    """What a component needs of `observe.logging.Logger`."""

    def debug(self, msg: str, /, **fields: object) -> None: ...
    def info(self, msg: str, /, **fields: object) -> None: ...
    def warning(self, msg: str, /, **fields: object) -> None: ...


class Resolver(ABC):
    """Finds sidecars, and lets this one be found.

    Order of calls: `open`, `register` at most once (when the internal server listens), lookups at any time
    between `open` and `close`. Trouble with a backend of the self-hosted default is logged and never raised;
    a resolver that a Configuration names may raise `OSError` or `ValueError` from `open` and `register`.
    Lookups raise `NotFound` only. All methods belong to the event loop that called `open`.
    """

    @abstractmethod
    async def open(self) -> None:
        """Makes the resolver ready for lookups."""

    @abstractmethod
    async def register(self, instance: Instance) -> None:
        """Makes `instance` known to other sidecars until `close`."""

    @abstractmethod
    def known(self, app_id: str, namespace: str) -> Addresses:
        """What is remembered, () when nothing is: then `resolve`. Never waits; may look behind the call."""

    @abstractmethod
    async def resolve(self, app_id: str, namespace: str) -> Addresses:
        """All live addresses, at least one; `NotFound` in less than a second."""

    @abstractmethod
    def report_dead(self, app_id: str, namespace: str, address: str) -> None:
        """The caller could not connect: `address` sits out for a short while, unless it is the only one."""

    @abstractmethod
    async def close(self) -> None:
        """Withdraws the own registration and gives everything back; quick, and harmless when called twice."""


class Missing(Resolver):
    """Stands for a resolver that could not be had: the sidecar runs, and finds nobody."""

    async def open(self) -> None:
        pass

    async def register(self, instance: Instance) -> None:
        pass

    def known(self, app_id: str, namespace: str) -> Addresses:
        return ()

    async def resolve(self, app_id: str, namespace: str) -> Addresses:
        raise NotInitialized(app_id)

    def report_dead(self, app_id: str, namespace: str, address: str) -> None:
        pass

    async def close(self) -> None:
        pass


class Remembering(Resolver):
    """Asks its backend by `look_up` and remembers what it said, for a bounded number of names.

    An answer is good for `fresh` seconds; after that it is still given, and renewed behind the call, until
    `usable` seconds have passed. That nobody was found is remembered for a second.
    """

    fresh, usable, within = 1.0, 10.0, 0.9
    place = ""
    """Where it looks, for messages."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._bench = Bench(clock)
        self._names: dict[tuple[str, str], tuple[Addresses, float]] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[Addresses]] = {}

    @abstractmethod
    async def look_up(self, app_id: str, namespace: str) -> Addresses:
        """All addresses, () when there are none. May raise `OSError` and `ValueError`."""

    def known(self, app_id: str, namespace: str) -> Addresses:
        addresses, at = self._names.get((app_id, namespace), ((), 0.0))
        if not addresses:
            return ()
        age = self._clock() - at
        if age > self.usable:
            return ()
        if age > self.fresh:
            self._ask(app_id, namespace)
        return self._bench.without(addresses)

    async def resolve(self, app_id: str, namespace: str) -> Addresses:
        if found := self.known(app_id, namespace):
            return found
        _, at = self._names.get((app_id, namespace), ((), -NOBODY_SECONDS))
        if self._clock() - at < NOBODY_SECONDS and not self._names[app_id, namespace][0]:
            raise NotFound(app_id, (self.place,))
        try:
            addresses = await asyncio.wait_for(asyncio.shield(self._ask(app_id, namespace)), self.within)
        except TimeoutError:
            raise NotFound(app_id, (f"{self.place}: no answer within {self.within:g} s",)) from None
        except (OSError, ValueError) as error:
            raise NotFound(app_id, (f"{self.place}: {error}",)) from None
        if not addresses:
            raise NotFound(app_id, (self.place,))
        return self._bench.without(addresses)

    def _ask(self, app_id: str, namespace: str) -> "asyncio.Task[Addresses]":
        """Asks the backend, once at a time for each name."""
        key = (app_id, namespace)
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.ensure_future(self._look_up(app_id, namespace))
            task.add_done_callback(lambda done: self._answered(key, done))
        return task

    async def _look_up(self, app_id: str, namespace: str) -> Addresses:
        addresses = await self.look_up(app_id, namespace)
        if len(self._names) >= NAMES:
            self._names.pop(next(iter(self._names)))
        self._names[app_id, namespace] = (tuple(sorted(addresses)), self._clock())
        return self._names[app_id, namespace][0]

    def _answered(self, key: tuple[str, str], task: "asyncio.Task[Addresses]") -> None:
        del self._asking[key]
        if not task.cancelled():
            task.exception()  # seen: who waits has it too, and what is remembered stays

    def report_dead(self, app_id: str, namespace: str, address: str) -> None:
        self._bench.add(address)

    async def close(self) -> None:
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        if asking:
            await asyncio.wait(asking)


class Bench:
    """Addresses that could not be reached sit out for some seconds; with nobody else left they play."""

    def __init__(self, clock: Clock, seconds: float = 5.0) -> None:
        self._clock, self._seconds = clock, seconds
        self._until: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self._until)

    def add(self, address: str) -> None:
        self._until[address] = self._clock() + self._seconds

    def without(self, addresses: Addresses) -> Addresses:
        if not self._until:
            return addresses
        now = self._clock()
        self._until = {address: until for address, until in self._until.items() if until > now}
        return tuple(address for address in addresses if address not in self._until) or addresses


def host_port(address: str) -> tuple[str, int]:
    """Takes an address apart: "[::1]:50002" is ("::1", 50002)."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def this_machine() -> str:
    """The same for processes that see each other's ids; another after a restart, or in a container."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        import platform

        return platform.node()


def process_started(pid: int) -> int | None:
    """When a process of this machine began, in ticks; 0 when it runs but hides that; None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0 if _is_there(pid) else None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _is_there(pid: int) -> bool:
    if sys.platform == "win32":  # os.kill(pid, 0) is Ctrl+C there: only the heartbeat can tell
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
