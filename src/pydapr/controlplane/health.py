"""Whether a process is ready, and the port that says so: `GET /healthz`, 200 or 503; other pages, if there are any.

Every part that is needed names itself at the start and says when it is ready. Used by `beside`.
"""

from collections.abc import Callable

from pydapr.net.exchange import Exchange


class Health:
    """The parts that are not ready."""

    def __init__(self) -> None:
        self.missing: set[str] = set()
        self.pages: dict[bytes, Callable[[], bytes]] = {}
        """What else the port shows: JSON, made when somebody asks for it."""

    def add(self, part: str) -> None:
        self.missing.add(part)

    def ready(self, part: str) -> None:
        self.missing.discard(part)

    async def serve(self, exchange: Exchange) -> None:
        """Answers the port of the health check."""
        path = exchange.target.partition(b"?")[0]
        page = self.pages.get(path)
        if page is not None:
            exchange.respond(200, ((b"content-type", b"application/json"),), page())
            return
        if path != b"/healthz":
            exchange.respond(404, ((b"content-type", b"text/plain; charset=utf-8"),), b"404 page not found\n")
            return
        exchange.respond(503 if self.missing else 200, ())
