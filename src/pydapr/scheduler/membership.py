"""Which schedulers there are, agreed on by keys in the store, as the library of the original does it.

Every member has a key `dapr/leadership/<id>` with its address and the number of members it knows, for as long as its
lease is kept. When all keys name the number of keys there are, each member has the partitions that leave the place of
its key, in the order of keys, as remainder of that number. Until they agree nobody has any: a member that sees others
than before lets go of everything before it says so. A member that cannot keep its lease lets go before that ends.
Members of our kind also say which others they see: a number alone does not tell when one has come for another.

A single scheduler on its own file does the same, alone. Made by `runtime`, which sets `on_change`.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence

from google.protobuf.message import DecodeError

from pydapr.net import tasks
from pydapr.net.keepalive import now
from pydapr.observe import logging
from pydapr.proto.dapr.proto.scheduler.v1 import scheduler_pb2
from pydapr.proto.etcd import cron_pb2
from pydapr.scheduler.store import Change, Expect, LeasedStore, Membership, StoreError, Write

log = logging.get("dapr.scheduler.server.leadership")

FOLDER = "dapr/leadership"

LEASE_SECONDS = 10
"""How long a member that has died is waited for. The original has 20."""

MARGIN = 2.0
"""So long before its lease may have ended a member lets go: clocks and disks are not exact."""

SETTLE_SECONDS = 5.0
"""How long what was begun for jobs that go to another member may take to end."""

PAUSE = 1.0
"""Between attempts when the store does not answer."""


def _nothing() -> None:
    pass


async def _settled() -> None:
    pass


class Elected(Membership):
    """A member with the key of `id`, known to sidecars by `host`."""

    def __init__(self, store: LeasedStore, id: str, host: str, seconds: int = LEASE_SECONDS) -> None:
        self._store = store
        self._key = f"{FOLDER}/{id}"
        self._seconds = seconds
        self._leadership = cron_pb2.Leadership(uid=secrets.randbits(64))
        self._leadership.replica_data.Pack(scheduler_pb2.Host(address=host))
        self.on_change: Callable[[], None] = _nothing
        self.settle: Callable[[], Awaitable[None]] = _settled
        """Awaited after `on_change`, when jobs are to go to another member: returns when nothing of ours is under
        way any more."""
        self._place, self._total, self._agreed_on = 0, 0, 0
        """Our place among the members, and how many there are when all agree; 0 while they do not."""
        self._host, self._hosts = host, [host]
        self._lease = 0
        self._until = 0.0
        """When our lease may have ended."""
        self._loop = asyncio.get_running_loop()
        self._members: dict[str, _Member] = {}
        self._changed = asyncio.Event()
        self._agreed: asyncio.Future[None] = self._loop.create_future()
        self._tasks: list[asyncio.Task[None]] = []
        self._deadline: asyncio.TimerHandle | None = None
        self._may_replace = True
        """Whether a key with our id and our address is one that we left behind when we were killed. Only at the start:
        who has the key afterwards is another one that runs."""

    async def join(self) -> None:
        await self._store.follow(FOLDER, self._on_members)
        self._tasks.append(asyncio.create_task(self._run()))
        try:
            await asyncio.shield(self._agreed)
        except BaseException:
            await self.leave()
            raise

    async def leave(self) -> None:
        running, self._tasks = self._tasks, []
        await tasks.stop(running)
        self._let_go()
        if self._deadline is not None:
            self._deadline.cancel()
        lease, self._lease = self._lease, 0
        if lease:
            try:
                async with asyncio.timeout(SETTLE_SECONDS):
                    await self._store.revoke(lease)
            except (StoreError, TimeoutError) as error:
                log.warning(f"The others learn only in {self._seconds} s that this scheduler has gone: {error}")

    def owns(self, partition: int) -> bool:
        total = self._total
        if total == 1:
            return now() < self._until
        return total > 0 and partition % total == self._place and now() < self._until

    def hosts(self) -> Sequence[str]:
        return self._hosts

    # -- within --

    def _on_members(self, changes: Sequence[Change]) -> None:
        for one in changes:
            known = self._members.get(one.key)
            if known is not None and known.revision >= one.revision:
                continue  # what we wrote ourselves is known before it is told
            if one.value is None:
                self._members.pop(one.key, None)
            else:
                self._members[one.key] = _Member(one.value, one.revision)
        if self._total and not self._is_agreed():
            log.info(f"The schedulers have changed: {self._total} -> {len(self._members)}")
            self._let_go()
        self._changed.set()

    async def _run(self) -> None:
        """Keeps us a member, whatever happens, for as long as the process runs."""
        while True:
            try:
                if not self._lease:
                    await self._begin_lease()
                keeping = asyncio.create_task(self._keep())
                agreeing = asyncio.create_task(self._agree())
                try:
                    await asyncio.wait((keeping, agreeing), return_when=asyncio.FIRST_COMPLETED)
                    for one in (keeping, agreeing):
                        if one.done():
                            one.result()
                finally:
                    await tasks.stop((keeping, agreeing))
            except StoreError as error:
                self._let_go()
                if await self._has_lost_lease():
                    continue
                log.error(f"This scheduler is not a member for now, and tries again: {error}")
                await asyncio.sleep(PAUSE)
            except Exception as error:  # whatever it is: nobody else would notice that nothing is triggered any more
                self._let_go()
                log.error(f"This scheduler is not a member for now, and tries again: {error!r}")
                await asyncio.sleep(PAUSE)

    async def _has_lost_lease(self) -> bool:
        """Whether the store says so."""
        if not self._lease:
            return False
        try:
            async with asyncio.timeout(PAUSE):
                if await self._store.keep(self._lease):
                    return False
        except (StoreError, TimeoutError):
            return False
        self._lease = 0
        return True

    async def _begin_lease(self) -> None:
        asked = now()
        self._lease = await self._store.grant(self._seconds)
        self._extend(asked)

    def _extend(self, asked: float) -> None:
        """Our lease holds for its time from when we asked for it."""
        if now() >= self._until:
            self._run_out()  # `owns` has said no already, whether the timer has come or not
        self._until = asked + max(self._seconds - MARGIN, self._seconds / 2)
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._loop.call_later(self._until - now(), self._run_out)

    def _run_out(self) -> None:
        if self._total:
            log.error("The store has not confirmed our lease in time: its jobs are left to others")
        self._let_go()

    async def _keep(self) -> None:
        """Returns when the lease has ended. Store errors are for the next time, as long as there may be one."""
        lease, seconds = self._lease, self._seconds / 3
        while True:
            await asyncio.sleep(seconds)
            asked = now()
            try:
                async with asyncio.timeout(seconds):
                    is_kept = await self._store.keep(lease)
            except (StoreError, TimeoutError) as error:
                log.warning(f"Our lease could not be kept: {error or 'no answer in time'}")
                seconds = min(PAUSE, self._seconds / 6)
                continue
            seconds = self._seconds / 3
            if not is_kept:
                log.error("Our lease has ended: this scheduler joins anew")
                self._lease = 0
                self._let_go()
                return
            self._extend(asked)
            self._changed.set()  # if we had let go meanwhile

    async def _agree(self) -> None:
        """Claims our key, and agrees with the others on the number, again and again. Returns when the key was taken
        away together with its lease."""
        while True:
            self._changed.clear()
            own = self._own()
            if own is None:
                if not await self._claim():
                    await self._next()
                    continue
            elif not self._agrees(own):
                self._let_go()
                await self._settle()
                await self._write(own.revision)
            elif self._is_agreed() and not self._total and now() < self._until:
                self._take()
            if not self._changed.is_set():
                await self._next()

    async def _next(self) -> None:
        """Returns at the next change; soon in any case when we are not agreed, so that nothing waits for ever."""
        try:
            async with asyncio.timeout(None if self._total else self._seconds / 2):
                await self._changed.wait()
        except TimeoutError:
            others = [key for key, one in self._members.items() if not self._agrees(one)]
            log.info(f"Waiting until all schedulers agree who there is: {', '.join(sorted(others)) or self._key}")

    def _own(self) -> "_Member | None":
        """Our key as we wrote it; None when it is not there, or another's."""
        found = self._members.get(self._key)
        return found if found is not None and found.uid == self._leadership.uid else None

    def _who(self) -> dict[str, int]:
        """Key and uid of all members, ourselves in any case."""
        return {key: one.uid for key, one in self._members.items()} | {self._key: self._leadership.uid}

    def _agrees(self, member: "_Member") -> bool:
        who = self._who()
        return member.total == len(who) and member.seen in (0, _number(who))

    async def _claim(self) -> bool:
        """Makes our key ours; False when somebody else has it, who has to end first."""
        found = self._members.get(self._key)
        if found is not None and not (self._may_replace and found.host == self._host):
            log.warning(f"Another scheduler has the key {self._key}: waiting until it ends")
            return False
        written = await self._write(found.revision if found is not None else 0)
        self._may_replace = self._may_replace and written is None
        return written is not None

    async def _write(self, revision: int) -> int | None:
        """Says which members we see, under our key, which has that revision; None if it has not."""
        who = self._who()
        self._leadership.total, self._leadership.members = len(who), _number(who)
        value = self._leadership.SerializeToString()
        expected = Expect(self._key, revision)
        written = await self._store.commit((Write(self._key, value, self._lease),), (expected,))
        if written is not None:
            # Whoever follows is told, too, a moment later.
            self._members[self._key] = _Member(value, written)
            self._changed.set()
        return written

    def _is_agreed(self) -> bool:
        """Whether all members, us among them, know the same ones; and if they did before, the same as then."""
        if self._own() is None or not all(map(self._agrees, self._members.values())):
            return False
        return not self._total or self._agreed_on == _number(self._who())

    def _take(self) -> None:
        """Has our share from now on."""
        keys = sorted(self._members, key=_ordered)
        self._place, self._total, self._agreed_on = keys.index(self._key), len(keys), _number(self._who())
        self._hosts = sorted(self._members[key].host for key in keys)
        log.info(f"Leadership agreed: {self._place + 1} of {self._total}")
        self._tell()
        if not self._agreed.done():
            self._agreed.set_result(None)

    def _let_go(self) -> None:
        """Has nothing from now on."""
        if self._total:
            self._total = 0
            self._tell()

    def _tell(self) -> None:
        try:
            self.on_change()
        except Exception as error:  # a member that ended because of that would never trigger anything again
            log.error(f"A change of the schedulers was not taken: {error!r}")

    async def _settle(self) -> None:
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                await self.settle()
        except TimeoutError:
            log.warning(f"Jobs that go to another scheduler were still under way after {SETTLE_SECONDS:g} s")


class _Member:
    """What stands under the key of a member."""

    def __init__(self, value: bytes, revision: int) -> None:
        self.revision = revision
        self.uid, self.host, self.total, self.seen = 0, "", -1, 0
        try:
            read, host = cron_pb2.Leadership.FromString(value), scheduler_pb2.Host()
            read.replica_data.Unpack(host)
        except DecodeError:
            return  # whoever that is agrees with nobody
        self.uid, self.host, self.total, self.seen = read.uid, host.address, read.total, read.members


def _number(who: Mapping[str, int]) -> int:
    """One for these members, and another for others."""
    names = sorted((_ordered(key), uid) for key, uid in who.items())
    return int.from_bytes(hashlib.sha256(repr(names).encode()).digest()[:8], "little") | 1


def _ordered(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")
