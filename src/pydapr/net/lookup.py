"""Looking names of hosts up: once at a time for each name, and no more than once a second for one that is not there.

Used by `net.dial`. The system's resolver may take its time (`resolv.conf` says how long), and it has few threads: many
calls to one name that fails must not keep others from being looked up.
"""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

FAILED_SECONDS = 1.0
"""How long it is remembered that a name could not be looked up."""

NAMES = 256
"""Failures remembered at most."""

Place = tuple[str, int]


class NoSuchHost(OSError):
    """The name of the host has no address; the text names it, as Go does."""


async def _system(host: str, port: int) -> list[Place]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(str(entry[4][0]), port) for entry in found]


class Names:
    """What is being looked up by `ask`, and what could not be."""

    def __init__(
        self,
        ask: Callable[[str, int], Awaitable[list[Place]]] = _system,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask, self._clock = ask, clock
        self._asking: dict[tuple[asyncio.AbstractEventLoop, Place], asyncio.Task[list[Place]]] = {}
        self._failed: dict[str, tuple[float, str]] = {}

    async def places(self, host: str, port: int) -> list[Place]:
        """Addresses of `host` with `port`, in the system's order. Raises `NoSuchHost`."""
        at, reason = self._failed.get(host, (0.0, ""))
        if reason and self._clock() - at < FAILED_SECONDS:
            raise NoSuchHost(reason)
        loop = asyncio.get_running_loop()
        key = (loop, (host, port))
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = loop.create_task(self._look_up(host, port))
            asking.add_done_callback(lambda task: self._answered(key, task))
        return await asyncio.shield(asking)

    async def _look_up(self, host: str, port: int) -> list[Place]:
        self._failed.pop(host, None)
        try:
            return list(dict.fromkeys(await self._ask(host, port)))
        except socket.gaierror as error:
            reason = f"lookup {host}: {_word(error)}"
        except UnicodeError:
            reason = f"lookup {host}: no such host"  # a label that is too long, or empty
        if len(self._failed) >= NAMES:
            self._failed.pop(next(iter(self._failed)))
        self._failed[host] = (self._clock(), reason)
        raise NoSuchHost(reason)

    def _answered(self, key: tuple[asyncio.AbstractEventLoop, Place], task: "asyncio.Task[list[Place]]") -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # those who wait have it


def _word(error: socket.gaierror) -> str:
    if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
        return "no such host"
    return (error.strerror or str(error)).lower()


places = Names().places
"""Looks a name up by this process's memory of them."""
