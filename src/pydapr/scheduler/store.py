"""Where a scheduler keeps jobs: keys and values with revisions, as etcd has them; and who of several does which.

Contracts. `stores` has what implements them: an SQLite file for a single scheduler, etcd for several. Keys are those of
the original (`dapr/jobs/…`, `dapr/counters/…`, `dapr/leadership/…`), values the messages of `proto/etcd/cron.proto`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from pydapr.lib.record import Record


class StoreError(Exception):
    """The store could not do what it was asked; what was to be written may or may not be."""


class NoSpace(StoreError):
    """There is no room for what was to be written, and nothing of it is. Removing keys makes room."""


class Entry(Record):
    """What stands under a key, and the revision of the store that wrote it."""

    key: str
    value: bytes
    revision: int


class Write(Record):
    """One change of a commit; `value` None removes the key."""

    key: str
    value: bytes | None
    lease: int = 0
    """Takes the key away when it ends; 0 for none."""


class Expect(Record):
    """What a commit depends on: the key was last written by `revision`, 0 for a key that must not be there."""

    key: str
    revision: int


class Change(Record):
    """A key that has been written, or removed (`value` None), at a revision."""

    key: str
    value: bytes | None
    revision: int


class Store(ABC):
    """Keys and values. All methods raise `StoreError`."""

    @abstractmethod
    async def open(self) -> None:
        """Makes it ready; waits for a server within bounds."""

    @abstractmethod
    async def close(self) -> None:
        """Gives everything back. What was committed is on the disk before this."""

    @abstractmethod
    async def get(self, key: str) -> Entry | None:
        """What stands under a key now."""

    @abstractmethod
    async def scan(self, prefix: str, after: str = "", limit: int = 0) -> Sequence[Entry]:
        """Entries whose keys begin so, in the order of keys, those behind `after`; `limit` 0 is for all."""

    @abstractmethod
    async def commit(self, writes: Sequence[Write], expects: Sequence[Expect] = ()) -> int | None:
        """All of the writes or none; the revision, None when an expectation is not met. Durable when it returns, and
        cheap for many at once: commits of one moment share one write to the disk."""

    @abstractmethod
    async def delete_prefix(self, *prefixes: str) -> int:
        """Removes all keys that begin so, in one commit; how many."""

    @abstractmethod
    async def follow(self, prefix: str, told: Callable[[Sequence[Change]], None]) -> None:
        """Tells of what is there now, in portions of bounded size (a million keys are not held at a time), and
        returns; tells of every change after it, in order and without a gap, until `close`."""


class Leases(ABC):
    """What a store has besides, for keys that are to vanish with who wrote them. All methods raise `StoreError`."""

    @abstractmethod
    async def grant(self, seconds: int) -> int:
        """A new lease, which ends so long after it was last kept."""

    @abstractmethod
    async def keep(self, lease: int) -> bool:
        """Has it begin anew; False when it has ended."""

    @abstractmethod
    async def revoke(self, lease: int) -> None:
        """Ends it, and removes its keys. One that has ended already is left alone."""


class LeasedStore(Store, Leases):
    """Both."""


class Membership(ABC):
    """Which schedulers there are, and which of the jobs are ours. A single scheduler has them all."""

    on_change: Callable[[], None]
    """Called when `hosts` or `owns` has changed; set by the scheduler's runtime."""

    @abstractmethod
    async def join(self) -> None:
        """Returns when all members agree who there is, and this one may begin. Raises `StoreError`."""

    @abstractmethod
    async def leave(self) -> None:
        """Lets the others have what was ours. Nothing of ours is triggered any more when this is called."""

    @abstractmethod
    def owns(self, partition: int) -> bool:
        """Whether a job of this partition is for us to trigger, now. Never for two members at a time."""

    @abstractmethod
    def hosts(self) -> Sequence[str]:
        """The addresses (host:port) of all schedulers, sorted."""
