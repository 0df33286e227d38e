"""Bindings: events from outside that call the app, and operations on systems outside that the app calls.

`daprd.opening` opens the bindings that resources describe; `blocks.bindings` uses them. A component is an output
binding, an input binding, or both. How a new binding is judged: `tests/conformance/test_bindings.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence

from pydapr.components import Part
from pydapr.lib.record import Record

CREATE, GET, DELETE, LIST = "create", "get", "delete", "list"
"""Operations that several bindings have."""

NO_METADATA: Mapping[str, str] = {}


class BindingError(Exception):
    """The binding could not do what it was asked to. The message is what the app reads, `metadata` too."""

    def __init__(self, message: str, metadata: Mapping[str, str] = NO_METADATA) -> None:
        super().__init__(message)
        self.metadata = metadata


class NotProcessed(Exception):
    """The app did not take the event. The message is the reason."""


class Request(Record):
    """What an app asks of an output binding. Names in `metadata` are as the app wrote them."""

    operation: str
    data: bytes = b""
    metadata: Mapping[str, str] = NO_METADATA


class Answer(Record):
    """What came of it."""

    data: bytes = b""
    metadata: Mapping[str, str] = NO_METADATA
    content_type: str = ""


class Event(Record):
    """What an input binding has for the app."""

    data: bytes
    metadata: Mapping[str, str] = NO_METADATA
    content_type: str = ""


Handler = Callable[[Event], Awaitable[bytes]]
"""Gives one event to the app, and what the app answered back. Raises `NotProcessed`, and nothing else."""


class OutputBinding(Part, ABC):
    """What an app can call. `operations` are what it can do, in the original's words."""

    operations: Sequence[str] = ()

    @abstractmethod
    async def invoke(self, request: Request) -> Answer | None:
        """Carries out one of `operations`; None when there is nothing to answer.

        Raises `BindingError`, within a bounded time.
        """


class Reading(ABC):
    """Events of one input binding on their way to a handler."""

    @abstractmethod
    async def close(self) -> None:
        """Takes no further event; those under way are finished, and their source knows it, when this returns.

        When it is cancelled, so are the handlers that still run, and their events stay with the source if it keeps any.
        """


class InputBinding(Part, ABC):
    """What calls the app. Reading outlives the absence of its source, and goes on when that is back."""

    @abstractmethod
    async def read(self, handler: Handler) -> Reading:
        """Gives `handler` each event from now on. Raises `BindingError`, within a bounded time."""


def unquoted(data: bytes) -> bytes:
    """The text in data that are a JSON string, such as those of an app that speaks HTTP; other data as they are."""
    if not (data[:1] == data[-1:] == b'"'):
        return data
    import json

    try:
        text = json.loads(data)
    except ValueError:
        return data
    return text.encode("utf-8", "replace") if isinstance(text, str) else data
