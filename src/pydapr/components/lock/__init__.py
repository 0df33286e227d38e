"""Lock stores: who holds what, and until when.

`daprd.opening` opens the stores that resources describe; `blocks.lock` uses them for apps. Resources come here with
their prefix. How a new store is judged: `tests/conformance/test_lock.py`.
"""

from abc import ABC, abstractmethod
from enum import IntEnum

from pydapr.components import Part


class LockError(Exception):
    """The store could not do it, or does not know whether it did. The message is what the app reads."""


class Unlocked(IntEnum):
    """What became of giving a lock back; the numbers are those of the API."""

    SUCCESS = 0
    NOT_THERE = 1
    """Nobody holds it: it was never taken, was given back, or its time is over."""
    OF_OTHERS = 2


class LockStore(Part, ABC):
    """At any time one owner at most holds a resource. Owners are not told apart further: whoever names it is it."""

    @abstractmethod
    async def try_lock(self, resource: str, owner: str, seconds: int) -> bool:
        """Whether `owner` holds `resource` from now on, for `seconds` (one or more) from before this returns.

        Never waits for the holder. Who holds it already does not get it again. Raises `LockError`.
        """

    @abstractmethod
    async def unlock(self, resource: str, owner: str) -> Unlocked:
        """Gives `resource` back if `owner` holds it. Raises `LockError`."""
