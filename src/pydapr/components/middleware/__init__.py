"""Middleware: what HTTP requests pass on their way, in the order that a Configuration gives (`httpPipeline`).

`daprd.components` opens the middleware that resources describe, and builds each pipeline once, at start. A
middleware wraps the handler behind it. It may change the target, the header fields or the body of the exchange
before it goes on, answer itself instead, or look at the answer through an exchange of its own (`net.wrapped`).
"""

from abc import ABC, abstractmethod

from pydapr.components import Part
from pydapr.net.exchange import Exchange, Handler

PLAIN = ((b"content-type", b"text/plain; charset=utf-8"),)


class Middleware(Part, ABC):
    """One station of a pipeline. Between `open` and `close`: `wrap` for each pipeline that names it, then exchanges."""

    @abstractmethod
    def wrap(self, inner: Handler) -> Handler:
        """The handler that stands before `inner`."""


def refuse(exchange: Exchange, status: int, message: str) -> None:
    """Answers in place of what stands behind."""
    exchange.respond(status, PLAIN, message.encode())
