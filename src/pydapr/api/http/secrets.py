"""The secrets API over HTTP. Called by the router; asks `blocks.secrets`."""

from pydapr.api.http import errors
from pydapr.api.http.errors import JSON
from pydapr.blocks.secrets import Secrets
from pydapr.lib import urls
from pydapr.net.exchange import Exchange

PREFIX = b"/v1.0/secrets/"


class SecretsApi:
    """Answers GET of `/v1.0/secrets/<store>/<name>` and `/v1.0/secrets/<store>/bulk`."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def get(self, exchange: Exchange) -> None:
        """One secret as an object of texts."""
        store, name = urls.segments(exchange.target, PREFIX)
        found = await self._secrets.get(store, name, urls.metadata(exchange.target))
        exchange.respond(200, JSON, errors.encode(dict(sorted(found.items()))) + b"\n")

    async def get_bulk(self, exchange: Exchange) -> None:
        """All secrets by name, each as an object of texts."""
        store, _ = urls.segments(exchange.target, PREFIX)
        found = await self._secrets.get_bulk(store, urls.metadata(exchange.target))
        ordered = {name: dict(sorted(found[name].items())) for name in sorted(found)}
        exchange.respond(200, JSON, errors.encode(ordered) + b"\n")
