"""Actors and what is due for them, as everybody between a face and the app speaks of them. Plain values."""

from pydapr.lib.record import Record

CANCELLED = "reminder has been canceled"
"""How a sidecar tells another that the app wants no more of a reminder or timer."""


class Actor(Record):
    """One actor."""

    type: str
    id: str

    @property
    def key(self) -> str:
        """`type||id`, as messages and keys have it."""
        return f"{self.type}||{self.id}"


class Host(Record):
    """Where actors live: the internal port of a sidecar, and its app."""

    address: str
    app_id: str


class Packed(Record):
    """A google.protobuf.Any: what it is, and its bytes."""

    type_url: str
    value: bytes


class Reminder(Record):
    """A reminder or timer that is due, or is asked about."""

    actor: Actor
    name: str
    data: Packed | None = None
    due_time: str = ""
    period: str = ""
    callback: str = ""
    """Of timers only."""
    is_timer: bool = False
    skips_turn: bool = False
    """Whether it does not wait for the actor's turn; only for actors of workflows."""
