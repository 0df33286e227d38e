"""Where actors live, by what placement orders; and what of it has to be waited for.

`call.Actors` asks `claim` for each call; `peers.placement.Client` tells what placement says, one thing at a time:
`update` when a table comes, `unlock` when it counts for everybody, `alive` twice a second, `lost` when placement cannot
be heard any more, `close` at the end. A table is followed by letting go what others will be given: claims on actors
that live here and whose type is redistributed are waited for, then revoked, then the actors are deactivated. Only then
`update` returns, and placement goes on. What is under way to other sidecars is theirs to let go: claims on it cost
nothing to hold.

A claim that has to wait does so until the `unlock` that settles it. It costs no task; where nothing is redistributed it
is a lookup in `table` and a place in the set of the claims of its type.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence

from pydapr.blocks import actors
from pydapr.blocks.actors import table
from pydapr.errors import ActorRuntimeClosed, NoAddress
from pydapr.lib.actors import Actor, Host
from pydapr.net import keepalive
from pydapr.observe import logging

log = logging.get("dapr.runtime.actors.loops.disseminator.inflight.lock")

HALT_SECONDS = 60.0
"""How long deactivation may take when placement is lost: an app that never answers must not keep the sidecar away."""

BEAT_SECONDS = 2.0

_LOCAL = ("localhost", "127.0.0.1", "[::1]", "::1")


class _Elsewhere(actors.Claim):
    """A claim on an actor of another sidecar: one for all of a host."""

    is_here = False

    def __init__(self, host: Host) -> None:
        self.host = host

    def release(self) -> None:
        pass

    def when_revoked(self, told: Callable[[], None]) -> None:
        pass


class _Here(actors.Claim):
    """A claim on an actor that lives here."""

    __slots__ = ("_among", "_is_revoked", "_told", "host")

    is_here = True

    def __init__(self, host: Host, among: "_Claims") -> None:
        self.host = host
        self._among = among
        self._told: Callable[[], None] | None = None
        self._is_revoked = False
        among.open.add(self)

    def release(self) -> None:
        among = self._among
        among.open.discard(self)
        if among.all_released is not None and not among.open and not among.all_released.done():
            among.all_released.set_result(None)

    def when_revoked(self, told: Callable[[], None]) -> None:
        if self._is_revoked:
            told()
        else:
            self._told = told

    def revoke(self) -> None:
        self._is_revoked = True
        self.release()
        told, self._told = self._told, None
        if told is not None:
            told()


class _Claims:
    """The claims on actors of one type that live here. Those that are drained stand apart from those that come."""

    __slots__ = ("all_released", "open")

    def __init__(self) -> None:
        self.open = set[_Here]()
        self.all_released: asyncio.Future[None] | None = None


class Placed(actors.Placed):
    """What this sidecar knows. `me` is how others reach it, `hosted` what lives here."""

    def __init__(self, me: Host, hosted: actors.Hosted) -> None:
        self._me = me
        self._my_names = _names(me.address)
        self._hosted = hosted
        self._table = table.Table()
        self._hosts: dict[tuple[str, str], _Elsewhere] = {}
        """Claims on the actors of others, by name and app id of the host."""
        self._claims: dict[str, _Claims] = {}
        self._draining: set[_Claims] = set()
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._doubtful_at = math.inf
        self._losses = 0
        self._is_ready = self._is_closed = self._is_in_doubt = False

    # -- for whoever calls actors --

    async def claim(self, actor: Actor) -> actors.Claim:
        """See `actors.Placed`. Raises `ActorRuntimeClosed` once the sidecar ends."""
        while True:
            claim = self.claim_now(actor)
            if claim is not None:
                return claim
            await self._change()

    def claim_now(self, actor: Actor) -> actors.Claim | None:
        if keepalive.now() > self._doubtful_at:
            self._is_in_doubt = True
            return None
        try:
            found = self._table.look_up(actor.type, actor.id)
        except table.Blocked:
            return None
        if found is None:
            raise NoAddress(actor.type, actor.id)
        if found[0] not in self._my_names:
            return self._hosts.get(found) or self._remember(found)
        claims = self._claims.get(actor.type)
        if claims is None:
            claims = self._claims[actor.type] = _Claims()
        return _Here(self._me, claims)

    async def sure(self) -> bool:
        while keepalive.now() > self._doubtful_at:
            self._is_in_doubt, losses = True, self._losses
            await self._change()
            if self._losses != losses:
                return False
        return True

    def is_here(self, actor: Actor) -> bool:
        name = self._table.find(actor.type, actor.id)
        return name is not None and name in self._my_names

    @property
    def is_ready(self) -> bool:
        return self._is_ready

    def _remember(self, found: tuple[str, str]) -> _Elsewhere:
        made = self._hosts[found] = _Elsewhere(Host(*found))
        return made

    async def _change(self) -> None:
        """Waits until something is settled. Raises `ActorRuntimeClosed`."""
        if self._is_closed:
            raise ActorRuntimeClosed
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = None
        try:
            await waiter
        finally:
            self._waiting.pop(waiter, None)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    # -- for whoever hears placement --

    async def update(self, members: Mapping[str, Mapping[str, str]], replicas: int) -> None:
        """A new table: for each type the names of its hosts, with the app id of each.

        Returns when nothing is here any more that others host by it. May be cancelled, if `lost` follows."""
        is_first = not self._table.is_known
        changed = self._table.update(members, replicas)
        self._hosts = {}
        if is_first:
            self._wake()  # those that ask for what nobody hosts have an answer
        await self._drain(changed)
        await self._hosted.halt(self.is_here)

    def unlock(self) -> Sequence[str]:
        """The table counts for everybody. Returns the types that it has redistributed."""
        released = self._table.unlock()
        self._is_ready = True
        self._wake()
        return released

    def alive(self) -> None:
        """Placement counts on this sidecar, now and for `BEAT_SECONDS`. Claims that come later wait for the next such
        word: the process may have stood still for so long that others were given what is here."""
        self._doubtful_at = keepalive.now() + BEAT_SECONDS
        if self._is_in_doubt:
            self._is_in_doubt = False
            self._wake()

    async def lost(self) -> None:
        """Placement cannot be heard, and gives to others what was here: lets go all of it. What is called from now on
        waits for the next table."""
        is_late = keepalive.now() > self._doubtful_at
        self._is_ready = self._is_in_doubt = False
        self._doubtful_at = math.inf
        self._losses += 1
        self._table.drop()
        self._wake()
        await self._drain(list(self._claims), is_late)
        try:
            async with asyncio.timeout(HALT_SECONDS):
                await self._hosted.halt(lambda _: False)
        except TimeoutError:
            log.error(f"Actors were not deactivated within {HALT_SECONDS:.0f} s")

    def close(self) -> None:
        """Who waits is told that the sidecar ends, as is who comes later and would have to wait."""
        self._is_closed = True
        self._table.drop()
        self._wake()

    async def _drain(self, types: Sequence[str], is_late: bool = False) -> None:
        """Gives the claims there are on actors of these types their time to be released, and revokes what is left.
        There is no time where others have the actors already."""
        for left in list(self._draining):  # whoever began it was cancelled
            self._revoke(left)
        async with asyncio.TaskGroup() as group:
            for name in types:
                claims = self._claims.pop(name, None)
                if claims is not None and claims.open:
                    seconds = 0.0 if is_late else self._hosted.drain(name)
                    group.create_task(self._drain_type(name, claims, seconds))

    async def _drain_type(self, name: str, claims: _Claims, seconds: float) -> None:
        self._draining.add(claims)
        if seconds > 0:
            claims.all_released = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(seconds):
                    await claims.all_released
            except TimeoutError:
                log.error(
                    f"Timed out waiting for actor type '{name}' in-flight lock claims to be released for rebalanced "
                    "types, force cancelling remaining claims"
                )
        self._revoke(claims)

    def _revoke(self, claims: _Claims) -> None:
        self._draining.discard(claims)
        for claim in list(claims.open):
            claim.revoke()


def _names(address: str) -> frozenset[str]:
    """What an address may be called: this machine has several names for itself."""
    host, _, port = address.rpartition(":")
    return frozenset([address, *[f"{name}:{port}" for name in _LOCAL]] if host in _LOCAL else [address])
