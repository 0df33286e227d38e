"""Actors: each lives in one sidecar at a time and takes one call at a time.

What the parts of this block tell each other. A call comes from a face, a timer or the scheduler to `call.Actors`,
which asks `placed` where the actor is: here, then `hosting` gives it its turn and a `Target` carries it to the app;
elsewhere, then `peers.sidecar` takes it to the sidecar there, whose `api.internal` comes to `call.Actors` again.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from pydapr.app.channel import Answer, Call
from pydapr.lib.actors import Actor, Host, Reminder
from pydapr.lib.record import Record


class Moved(Exception):
    """The actor was, or comes to be, elsewhere: nothing was lost by this call, and trying again finds the right host.
    The app may have been at work on it when the actor had to go."""


class Claim(ABC):
    """A call under way to a host. An actor is not taken away from where it is before the claims on it are released, or
    revoked because they took too long."""

    host: Host
    is_here: bool

    @abstractmethod
    def release(self) -> None:
        """The call is over. Must be called, once or more."""

    @abstractmethod
    def when_revoked(self, told: Callable[[], None]) -> None:
        """Has `told` called, once, if the claim is revoked before its release: the call is to be broken off then."""


class Placed(ABC):
    """Who knows where actors live. The one in a sidecar goes by what placement orders."""

    @abstractmethod
    async def claim(self, actor: Actor) -> Claim:
        """Where an actor is; waits while its type is being redistributed, and until placement has spoken first.
        Raises `NoAddress` (`errors`) when nobody hosts the type. Bounded by whoever calls."""

    def claim_now(self, actor: Actor) -> Claim | None:
        """What `claim` gives, without waiting; None where it would have to wait. Raises as `claim`."""
        return None

    async def sure(self) -> bool:
        """Whether what is active here is not given to others already. Waits for placement's word if this process stood
        still, and otherwise not at all."""
        return True

    @abstractmethod
    def is_here(self, actor: Actor) -> bool:
        """Whether it lives here by the tables now, whatever is under way."""

    @property
    @abstractmethod
    def is_ready(self) -> bool:
        """Whether placement has spoken, and is still there."""


class Hosted(ABC):
    """The actors of this sidecar, as `placed` sees them."""

    on_types: Callable[[], None]
    """Called when `types()` has changed; set by whoever reports them to placement."""

    @abstractmethod
    def types(self) -> Sequence[str]:
        """The types to report, sorted; none while they cannot be hosted."""

    @abstractmethod
    async def halt(self, stays: Callable[[Actor], bool]) -> None:
        """Deactivates all actors but those that stay; no call of a halted one begins meanwhile. Does not raise."""

    @abstractmethod
    def drain(self, actor_type: str) -> float:
        """Seconds that calls under way to actors of a type may take when these have to go; 0 for none at all."""


class Target(Protocol):
    """Carries what an actor is to do to who does it: one for each type that is hosted. It has its turn by then.

    `reentrancy_id` is what calls that this one leads to must carry to be let in at once, empty where that is off."""

    async def invoke(self, actor: Actor, call: Call, reentrancy_id: str) -> Answer:
        """The answer to a method, whose body is whole. Raises `DaprError` and `RpcError`."""
        ...

    async def remind(self, reminder: Reminder, reentrancy_id: str) -> bool:
        """Has a reminder or timer done; whether it is to go on. Raises as `invoke`."""
        ...

    async def deactivate(self, actor: Actor) -> None:
        """Tells that an actor is not needed here any more. Raises as `invoke`."""
        ...


class Reentrancy(Record):
    """Whether a call that an actor has led to may come in while it is under way, and how deep."""

    enabled: bool = False
    max_stack_depth: int = 32


class TypeOptions(Record):
    """How the actors of one type are hosted."""

    idle_seconds: float
    drain_seconds: float
    drains: bool
    reentrancy: Reentrancy


class Hosting(Hosted):
    """The actors of this sidecar, as the rest of it sees them."""

    @abstractmethod
    def register(self, types: Mapping[str, TypeOptions], target: Target) -> None:
        """Hosts these types from now on, carried out by `target`."""

    @abstractmethod
    async def unregister(self, types: Sequence[str]) -> None:
        """Deactivates the actors of these types and hosts them no longer."""
