"""The turns of one actor: one call at a time, in the order in which they came.

Used by `hosting`. A call that another one of the same actor has led to shares its turn, where that is switched on: both
carry the same id. A turn that is free is taken without any waiting. The caller's own task waits, there is no other.
"""

import asyncio
from collections import deque

from mypy_extensions import mypyc_attr

from pydapr.blocks.actors import Moved
from pydapr.errors import ActorStackTooDeep

CLOSED = "the actor has been deactivated here"


class _Group:
    """Calls with the same id that wait for a turn, which they will share."""

    __slots__ = ("id", "waiting")

    def __init__(self, id: str, first: "asyncio.Future[None]") -> None:
        self.id, self.waiting = id, [first]


@mypyc_attr(allow_interpreted_subclasses=True)
class Turns:
    """Who has the turn, and who waits. An `id` may be empty, and is never shared then.

    `try_enter`, or `wait` if that says no, then `leave`; both raise `ActorStackTooDeep`, and `Moved` after `close`.
    """

    __slots__ = ("_depth", "_id", "_queue", "is_closed")

    def __init__(self) -> None:
        self._id = ""
        self._depth = 0
        self._queue: deque[_Group] | None = None
        self.is_closed = False

    @property
    def is_free(self) -> bool:
        return self._depth == 0

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return sum([len(group.waiting) for group in self._queue]) if self._queue else 0

    def try_enter(self, id: str, deepest: int) -> bool:
        """Takes the turn if that can be had now. `deepest` is how many calls may share one."""
        if self.is_closed:
            raise Moved(CLOSED)
        if self._depth == 0:
            self._id, self._depth = id, 1
            return True
        if id and id == self._id:
            if self._depth >= deepest:
                raise ActorStackTooDeep
            self._depth += 1
            return True
        return False

    async def wait(self, id: str, deepest: int) -> None:
        """Takes the turn when it comes. Whoever is cancelled meanwhile has not taken it."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        group = self._join(id, deepest, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave()
            elif turn in group.waiting:
                group.waiting.remove(turn)
                if not group.waiting and self._queue is not None and group in self._queue:
                    self._queue.remove(group)
            raise

    def _join(self, id: str, deepest: int, turn: "asyncio.Future[None]") -> _Group:
        if self._queue is None:
            self._queue = deque()
        if id:
            for group in self._queue:
                if group.id == id:
                    if len(group.waiting) >= deepest:
                        raise ActorStackTooDeep
                    group.waiting.append(turn)
                    return group
        group = _Group(id, turn)
        self._queue.append(group)
        return group

    def leave(self) -> None:
        """Gives the turn back."""
        self._depth -= 1
        if self._depth == 0 and self._queue is not None:
            self._pass_on()

    def _pass_on(self) -> None:
        queue = self._queue
        while queue:
            group = queue.popleft()
            ready = [turn for turn in group.waiting if not turn.done()]
            if ready:
                self._id, self._depth = group.id, len(ready)
                for turn in ready:
                    turn.set_result(None)
                return
        self._queue = None

    def close(self) -> None:
        """No turn is given any more: whoever waits goes elsewhere. Calls that have one keep it."""
        self.is_closed = True
        queue, self._queue = self._queue, None
        for group in queue or ():
            for turn in group.waiting:
                if not turn.done():
                    turn.set_exception(Moved(CLOSED))
