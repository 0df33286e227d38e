"""What a call to an app and its answer are, and the contract of a channel that carries them.

The language between faces, the invocation block, other sidecars and the app: plain values, names of header
fields in lower case, bodies as they came.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mypy_extensions import mypyc_attr

from pydapr.errors import RpcError
from pydapr.net.body import Body, BodyError

if TYPE_CHECKING:
    from pydapr.wire.tracecontext import Trace

Header = tuple[bytes, bytes]


class Call:
    """One call of a method of an app.

    `method` is the decoded path without query; `query` the raw query without question mark; `headers` are
    those of the client, Content-Type among them; unless the call `is_clean` they are unfiltered. `trace` is the
    trace that it is part of, in place of what the client says of one; None while there is no tracing.
    """

    __slots__ = ("body", "headers", "is_clean", "method", "query", "says_trace", "trace", "verb")

    is_rpc = False
    """Whether gRPC is part of it: then it is an `app.rpc.RpcCall`."""

    def __init__(
        self,
        verb: bytes,
        method: str,
        query: bytes,
        headers: Sequence[Header],
        body: Body,
        is_clean: bool = False,
        trace: "Trace | None" = None,
    ) -> None:
        self.verb = verb
        self.method = method
        self.query = query
        self.headers = headers
        self.body = body
        self.is_clean = is_clean
        self.trace = trace
        self.says_trace = True
        """False when it is sure that `headers` say nothing of a trace."""


class Answer:
    """What the app answered: its status, its header fields fit to be sent on, its body as it comes.

    Whoever does not read the body to its end calls `close`.
    """

    __slots__ = ("_close", "body", "content_length", "headers", "status")

    def __init__(
        self,
        status: int,
        headers: Sequence[Header],
        body: Body,
        close: Callable[[], None] | None = None,
        content_length: bytes | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.content_length = content_length
        """What the app said of the length in answer to HEAD, whose body never comes."""
        self._close = close

    def close(self) -> None:
        """Lets the connection behind the body go."""
        if self._close is not None and not self.body.ended:
            self._close()


class AppUnreachable(Exception):
    """The app did not take the call, or broke it off before an answer began."""


@mypyc_attr(allow_interpreted_subclasses=True)
class AppChannel(ABC):
    """Carries calls to an app."""

    takes_rpc = False
    """Whether the app speaks gRPC, so that answers are `app.rpc.RpcAnswer` and calls should be `RpcCall`."""

    @abstractmethod
    async def invoke(self, call: Call) -> Answer:
        """Calls the app. Raises `AppUnreachable`, and `RpcError` when the call is not one that can be sent."""

    async def probe(self, path: str) -> str:
        """Asks whether the app is healthy: the reason why not, or empty text."""
        try:
            answer = await self.invoke(Call(b"GET", path, b"", (), Body.of(b"")))
            try:
                await answer.body.read_all()
            finally:
                answer.close()
        except (AppUnreachable, BodyError, RpcError) as error:
            return f"Network error: {error}"
        if 200 <= answer.status < 300:
            return ""
        return f"Health check failed with status code: {answer.status}"

    @abstractmethod
    def close(self) -> None:
        """Breaks off what is under way and gives the connections back."""

    @abstractmethod
    def retire(self) -> None:
        """Lets what is under way finish, and keeps no connection after it."""
