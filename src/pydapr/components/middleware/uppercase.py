"""middleware.http.uppercase turns bodies into upper case. A demonstration: it shows that a pipeline is in force."""

import codecs

from pydapr.components import component, option, options
from pydapr.components.middleware import Middleware
from pydapr.net.body import Body
from pydapr.net.exchange import Exchange, Handler, Headers
from pydapr.net.wrapped import Wrapped


@options
class Options:
    direction: str = option("Whose body: `request`, `response` or `both`.", default="request")


@component("middleware.http.uppercase", Options)
class Uppercase(Middleware):
    """What is no UTF-8 becomes U+FFFD, as in the original."""

    def __init__(self, options: Options) -> None:
        direction = options.direction.lower()
        self._answers = direction in ("response", "both")
        self._requests = direction != "response"

    def wrap(self, inner: Handler) -> Handler:
        async def handle(exchange: Exchange) -> None:
            if self._requests:
                exchange.body = _Upper(exchange.body)
                exchange.headers = [field for field in exchange.headers if field[0] != b"content-length"]
            await inner(_UpperAnswer(exchange) if self._answers else exchange)

        return handle


class _Letters:
    """Pieces of a text in upper case; a letter that is cut in two waits for its rest."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes, is_last: bool = False) -> bytes:
        return "".join(map(_upper, self._decoder.decode(data, is_last))).encode()


def _upper(letter: str) -> str:
    """One letter for one, as Go does it: `ß` stays."""
    other = letter.upper()
    return other if len(other) == 1 else letter


class _Upper(Body):
    """Reads from another body."""

    __slots__ = ("_from", "_letters")

    def __init__(self, source: Body) -> None:
        super().__init__(None, None)
        self._from = source
        self._letters = _Letters()
        if source.is_whole:
            self.feed(self._letters.feed(source.take(), True))
            self.end()

    def limit(self, size: int) -> None:
        if self.ended:
            super().limit(size)
        else:
            self._from.limit(size)

    async def read(self) -> bytes:
        while not self.buffered and not self.ended:
            data = await self._from.read()
            made = self._letters.feed(data, not data)
            if made:
                self.feed(made)
            if not data:
                self.end()
        return self.take()


class _UpperAnswer(Wrapped):
    __slots__ = ("_letters",)

    def __init__(self, inner: Exchange) -> None:
        super().__init__(inner)
        self._letters = _Letters()

    def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        super().respond(status, headers, self._letters.feed(body, True))

    def begin(self, status: int, headers: Headers) -> None:
        super().begin(status, [field for field in headers if field[0] != b"content-length"])

    async def write(self, data: bytes) -> None:
        made = self._letters.feed(data)
        if made:
            await super().write(made)
