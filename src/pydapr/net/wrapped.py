"""An exchange in front of another one. Used by middleware, logging and whatever else looks at answers."""

from mypy_extensions import mypyc_attr

from pydapr.net.exchange import Exchange, Headers


@mypyc_attr(allow_interpreted_subclasses=True)
class Wrapped(Exchange):
    """Passes everything on to `inner`; a class of its own overrides what it wants to see or to change.

    Method, target, header fields and body are its own from here on: what is changed in them is seen behind it,
    and not by who stands before.
    """

    __slots__ = ("inner",)

    def __init__(self, inner: Exchange) -> None:
        self.inner = inner
        self.method, self.target = inner.method, inner.target
        self.headers, self.body = inner.headers, inner.body
        self.context, self.trace = inner.context, inner.trace
        self.is_begun = self.is_finished = False

    def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.is_begun = self.is_finished = True
        self.inner.respond(status, headers, body)

    def begin(self, status: int, headers: Headers) -> None:
        self.is_begun = True
        self.inner.begin(status, headers)

    async def write(self, data: bytes) -> None:
        await self.inner.write(data)

    def finish(self, trailers: Headers = ()) -> None:
        self.is_finished = True
        self.inner.finish(trailers)

    def abort(self) -> None:
        self.inner.abort()

    @property
    def protocol(self) -> bytes:
        return self.inner.protocol

    @property
    def peer(self) -> str:
        return self.inner.peer
