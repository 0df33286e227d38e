"""Counts and times the requests to a server of the HTTP API, before all other stations while metrics are on.

Made by `daprd.faces`, called by `net.server`. Where there is no other station than the router, it does this itself.
"""

from time import perf_counter
from typing import TYPE_CHECKING

from pydapr.api.http import errors
from pydapr.errors import DaprError
from pydapr.net.exchange import Exchange, Handler, Headers
from pydapr.net.wrapped import Wrapped

if TYPE_CHECKING:
    from pydapr.observe.metrics_http import HttpMetrics
    from pydapr.observe.metrics_service import ErrorMetrics


def measured(inner: Handler, metrics: "HttpMetrics") -> Handler:
    """`inner`, whose answers are counted and timed."""

    async def handle(exchange: Exchange) -> None:
        counted = Counted(exchange)
        began = perf_counter()
        try:
            await inner(counted)
        finally:
            metrics.answered(
                exchange.method, exchange.target, counted.status, exchange.body.length or 0, counted.size,
                perf_counter() - began,
            )  # fmt: skip

    return handle


def responder(metrics: "ErrorMetrics") -> errors.Respond:
    """`errors.respond`, which counts the errors too."""

    def respond(exchange: Exchange, error: DaprError) -> None:
        metrics.answered(error)
        errors.respond(exchange, error)

    return respond


class Counted(Wrapped):
    """An exchange that keeps what was answered; the status is 0 until there is an answer."""

    __slots__ = ("size", "status")

    def __init__(self, inner: Exchange) -> None:
        # All in one place: this is made for each request.
        self.inner = inner
        self.method, self.target = inner.method, inner.target
        self.headers, self.body = inner.headers, inner.body
        self.context, self.trace = inner.context, inner.trace
        self.is_begun = self.is_finished = False
        self.status = self.size = 0

    def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.is_begun = self.is_finished = True
        self.status, self.size = status, len(body)
        self.inner.respond(status, headers, body)

    def begin(self, status: int, headers: Headers) -> None:
        self.is_begun = True
        self.status = status
        self.inner.begin(status, headers)

    async def write(self, data: bytes) -> None:
        self.size += len(data)
        await self.inner.write(data)
