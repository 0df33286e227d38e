"""The metadata API over HTTP. Called by the router; asks `blocks.metadata`."""

from pydapr.api.http import errors
from pydapr.api.http.errors import JSON
from pydapr.blocks.metadata import Metadata
from pydapr.errors import BodyUnreadable
from pydapr.lib import urls
from pydapr.net.body import TooLarge
from pydapr.net.exchange import Exchange

PREFIX = b"/v1.0/metadata/"


class MetadataApi:
    """Answers GET and PUT of `/v1.0/metadata`. `max_body` bounds the value of an attribute."""

    def __init__(self, metadata: Metadata, max_body: int) -> None:
        self._metadata = metadata
        self._max_body = max_body

    async def get(self, exchange: Exchange) -> None:
        """The whole description as JSON."""
        exchange.respond(200, JSON, errors.encode(self._metadata.document()) + b"\n")

    async def put(self, exchange: Exchange) -> None:
        """Attaches the attribute that the path names; the body is its value."""
        key = urls.decode(exchange.target.partition(b"?")[0][len(PREFIX) :]).replace("+", " ")
        try:
            value = await exchange.body.read_all(self._max_body)
        except TooLarge as error:
            raise BodyUnreadable(str(error)) from None
        self._metadata.attach(key, value.decode("utf-8", "replace"))
        exchange.respond(204, ())
