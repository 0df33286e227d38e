"""The configuration API over HTTP. Called by the router; asks `blocks.configuration`."""

from urllib.parse import parse_qs

from pydapr.api.http import errors
from pydapr.api.http.errors import JSON
from pydapr.blocks.configuration import Configuration, documents
from pydapr.errors import ConfigurationUnsubscribeFailed
from pydapr.lib import urls
from pydapr.net.exchange import Exchange

PREFIXES = (b"/v1.0/configuration/", b"/v1.0-alpha1/configuration/")


class ConfigurationApi:
    """Answers GET of `<prefix><store>`, `<prefix><store>/subscribe` and `<prefix><store>/<id>/unsubscribe`."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration

    async def get(self, exchange: Exchange) -> None:
        """Items by key; nothing when there are none."""
        target = exchange.target
        found = await self._configuration.get(_segments(target)[0], _keys(target), urls.metadata(target))
        if found:
            exchange.respond(200, JSON, errors.encode(documents(found)) + b"\n")
        else:
            exchange.respond(204, ())

    async def subscribe(self, exchange: Exchange) -> None:
        """The id of a subscription; changes go to the app."""
        target = exchange.target
        made = await self._configuration.subscribe_app(_segments(target)[0], _keys(target), urls.metadata(target))
        exchange.respond(200, JSON, errors.encode({"id": made}) + b"\n")

    async def unsubscribe(self, exchange: Exchange) -> None:
        store, subscription, _ = _segments(exchange.target)
        try:
            await self._configuration.unsubscribe(store, subscription)
        except ConfigurationUnsubscribeFailed as error:
            exchange.respond(500, JSON, errors.encode({"message": error.message}) + b"\n")
            return
        exchange.respond(200, JSON, b'{"ok":true}\n')


def _segments(target: bytes) -> list[str]:
    return urls.segments(target, next(prefix for prefix in PREFIXES if target.startswith(prefix)))


def _keys(target: bytes) -> list[str]:
    query = target.partition(b"?")[2]
    return parse_qs(query.decode("latin-1"), keep_blank_values=True, errors="replace").get("key", []) if query else []
