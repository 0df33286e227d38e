"""An app with actors, and what knows where they live, without any process."""

import asyncio
from collections.abc import Callable

from pydapr.app.channel import Answer, Call
from pydapr.blocks.actors import Claim, Placed, Reentrancy, TypeOptions
from pydapr.errors import NoAddress
from pydapr.lib.actors import Actor, Host, Reminder
from pydapr.net.body import Body

LIMIT = 10.0


async def until(is_true: Callable[[], object]) -> None:
    """Waits until it is true."""
    async with asyncio.timeout(LIMIT):
        while True:
            if is_true():
                return
            await asyncio.sleep(0.001)


HERE, THERE = Host("127.0.0.1:1", "app"), Host("127.0.0.1:2", "other")


def options(idle: float = 3600, drain: float = 1, drains: bool = True, again: Reentrancy | None = None) -> TypeOptions:
    return TypeOptions(idle, drain, drains, again or Reentrancy())


def call(method: str = "m", **headers: str) -> Call:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Call(b"PUT", method, b"", fields, Body.of(b"body"), True)


class FakeTarget:
    """Notes what actors are to do. While `gate` is closed nothing ends."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.calls: list[Call] = []
        self.now = 0
        self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.farewell = asyncio.Event()
        self.farewell.set()
        self.fault: Exception | None = None

    async def _do(self, what: str) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.gate.wait()
            self.done.append(what)
            if self.fault is not None:
                raise self.fault
        finally:
            self.now -= 1

    async def invoke(self, actor: Actor, call: Call, reentrancy_id: str) -> Answer:
        self.calls.append(call)
        await self._do(f"{actor.key} {call.method}")
        return Answer(200, ((b"content-type", b"text/plain"),), Body.of(b"done"))

    async def remind(self, reminder: Reminder, reentrancy_id: str) -> bool:
        await self._do(f"{reminder.actor.key} remind {reminder.name}")
        return True

    async def deactivate(self, actor: Actor) -> None:
        await self.farewell.wait()
        self.done.append(f"{actor.key} gone")
        if self.fault is not None:
            raise self.fault


class FakeClaim(Claim):
    def __init__(self, host: Host, is_here: bool) -> None:
        self.host, self.is_here = host, is_here
        self.is_released = False
        self.told: Callable[[], None] | None = None

    def release(self) -> None:
        self.is_released = True

    def when_revoked(self, told: Callable[[], None]) -> None:
        self.told = told


class FakePlaced(Placed):
    """`hosts` says where actors live by type, None where nobody knows yet."""

    def __init__(self) -> None:
        self.hosts: dict[str, Host | None] = {}
        self.claims: list[FakeClaim] = []
        self.changed = asyncio.Event()

    async def claim(self, actor: Actor) -> Claim:
        while (claim := self.claim_now(actor)) is None:
            await self.changed.wait()
        return claim

    def claim_now(self, actor: Actor) -> Claim | None:
        if actor.type not in self.hosts:
            raise NoAddress(actor.type, actor.id)
        host = self.hosts[actor.type]
        if host is None:
            return None
        claim = FakeClaim(host, host == HERE)
        self.claims.append(claim)
        return claim

    def is_here(self, actor: Actor) -> bool:
        return self.hosts.get(actor.type) == HERE

    @property
    def is_ready(self) -> bool:
        return True
