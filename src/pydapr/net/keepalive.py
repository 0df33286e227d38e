"""Signs of life: a peer on an HTTP/2 connection that has been quiet is asked for one, and given up without an answer.

Used by `net.http2_pool` and `net.server`. A machine that is gone sends no farewell: without this, what is under way
on its connections would wait for ever. The times are the original's (v1.18.3, `pkg/api/grpc/manager/manager.go` and
`pkg/api/grpc/server.go`), and so that a server of it does not find the questions too many. A timer for each connection
does it all: requests cost nothing.
"""

import asyncio
import time
from typing import Protocol

QUIET_SECONDS = 10.0
"""How long a peer may be quiet before it is asked. Not below a second: `heard_at` is good to one."""

ANSWER_SECONDS = 5.0
"""How long it has to answer."""

REASON = "keepalive ping failed to receive ACK within timeout"

_LATE = 1.0
"""A timer later than this means that this process stood still: the answer may be here and not be read yet."""

_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def now() -> float:
    """Seconds by a clock that goes on while the machine sleeps, where there is one: asyncio's stands still then."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


class Asked(Protocol):
    """What is needed of a connection."""

    @property
    def heard_at(self) -> float: ...
    def ask(self) -> None: ...
    def give_up(self, reason: str) -> None: ...


class Keepalive:
    """Watches one connection until `stop`."""

    __slots__ = ("_answer", "_asked_at", "_connection", "_due", "_loop", "_quiet", "_timer")

    def __init__(
        self,
        connection: Asked,
        loop: asyncio.AbstractEventLoop,
        quiet: float = QUIET_SECONDS,
        answer: float = ANSWER_SECONDS,
    ) -> None:
        self._connection = connection
        self._loop = loop
        self._quiet, self._answer = quiet, answer
        self._asked_at: float | None = None
        self._look_at(loop.time() + quiet)

    def stop(self) -> None:
        """The connection is gone."""
        self._timer.cancel()

    def _look_at(self, due: float) -> None:
        self._due = due
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        connection, now = self._connection, self._loop.time()
        heard_at = connection.heard_at
        if self._asked_at is not None and heard_at < self._asked_at:
            if now - self._due > _LATE:
                self._look_at(now + self._answer)
                return
            connection.give_up(REASON)
            return
        self._asked_at = None
        if now - heard_at < self._quiet:
            self._look_at(heard_at + self._quiet)
            return
        self._asked_at = now
        connection.ask()
        self._look_at(now + self._answer)
