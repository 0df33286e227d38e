"""Configuration stores: items by key that apps read, and are told of when somebody changes them elsewhere.

`daprd.opening` opens the stores that resources describe; `blocks.configuration` uses them for apps. How a new store is
judged: `tests/conformance/test_configuration.py`.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from pydapr.components import Part
from pydapr.lib.record import Record

T = TypeVar("T", bound="Told")

NO_METADATA: Mapping[str, str] = {}


class ConfigurationError(Exception):
    """The store could not do what it was asked to. The message is what the app reads."""


class Item(Record):
    """What stands under a key. One that was removed is empty in all its parts."""

    value: str = ""
    version: str = ""
    metadata: Mapping[str, str] = NO_METADATA


Handler = Callable[[str, Mapping[str, Item]], Awaitable[None]]
"""Takes the id of a subscription and what has changed; it must not raise."""


class ConfigurationStore(Part, ABC):
    """Where items are. `metadata` comes with the request; each store has its own keys.

    All methods raise `ConfigurationError`, within a bounded time.
    """

    @abstractmethod
    async def get(self, keys: Sequence[str], metadata: Mapping[str, str]) -> Mapping[str, Item]:
        """The items of `keys`, of all keys when none are named; keys that are not there are left out."""

    @abstractmethod
    async def subscribe(self, keys: Sequence[str], metadata: Mapping[str, str], handler: Handler) -> str:
        """The id of a subscription, of which `handler` gets each change after this returns, one at a time.

        Of changes that follow each other quickly the last is told, in any case. Without keys all are meant.
        """

    @abstractmethod
    async def unsubscribe(self, subscription: str) -> None:
        """Ends a subscription; `handler` is not called any more when this returns."""


class Told(Protocol):
    """A subscription of a store, which a task tells of changes."""

    task: "asyncio.Task[None] | None"


async def end(subscriptions: "dict[str, T]", name: str) -> "T":
    """Takes away a subscription, and ends its task. Raises `ConfigurationError` when there is none of this id."""
    found = subscriptions.pop(name, None)
    if found is None or found.task is None:
        raise ConfigurationError(f"subscription with id {name} does not exist")
    found.task.cancel()
    if found.task is not asyncio.current_task():
        await asyncio.wait((found.task,))
    return found
