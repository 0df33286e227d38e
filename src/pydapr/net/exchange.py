"""One request to a server of ours and the answer to it, the same for HTTP/1.1 and HTTP/2.

Made by the connections (`net.http1`, `net.http2`), handed to the handler of a server, which is a face in
`api`. The handler runs as a task of its own; when the client goes away that task is cancelled.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from mypy_extensions import mypyc_attr

from pydapr.net.body import Body

if TYPE_CHECKING:
    from pydapr.wire.tracecontext import Trace

Header = tuple[bytes, bytes]
Headers = Sequence[Header]


@mypyc_attr(allow_interpreted_subclasses=True)
class Exchange(ABC):
    """What a handler reads and how it answers.

    Either `respond` once, or `begin`, any number of `write`, then `finish`. A handler that returns without
    an answer, or raises, has the connection answer 500 or break off.
    """

    __slots__ = ("body", "context", "headers", "is_begun", "is_finished", "method", "target", "trace")

    method: bytes
    target: bytes
    """Path and query as they came."""
    headers: Headers
    """Names in lower case, in the order they came; without pseudo header fields."""
    body: Body
    is_begun: bool
    is_finished: bool
    context: Headers
    """What the client says of a trace: those of `headers` in `wire.headers.TRACE`."""
    trace: "Trace | None"
    """The trace that this is part of; set before the handlers that want to know, and said in the head of the answer."""

    @property
    def protocol(self) -> bytes:
        """The version of HTTP, as Go writes it."""
        return b"HTTP/1.1"

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        """The header fields by name; of one that stands several times, the last."""
        return dict(self.headers)

    @abstractmethod
    def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """Sends a whole answer; its length is stated."""

    @abstractmethod
    def begin(self, status: int, headers: Headers) -> None:
        """Sends the head of an answer whose body follows by `write`."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Sends a piece of the body; waits while the client does not keep up. Raises `Disconnected`."""

    @abstractmethod
    def finish(self, trailers: Headers = ()) -> None:
        """Ends the answer. Trailers go out on HTTP/2 only."""

    @abstractmethod
    def abort(self) -> None:
        """Breaks the answer off so that the client sees it is not complete."""

    @property
    @abstractmethod
    def peer(self) -> str:
        """The client's address, for messages."""


def peer_name(address: object) -> str:
    """What a socket says of its other end, in a form for messages."""
    if not isinstance(address, tuple):
        return "unix socket"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


Handler = Callable[[Exchange], Awaitable[None]]
"""Answers one exchange."""
