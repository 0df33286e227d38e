"""Health checks of the sidecar over HTTP. Called by the router; asks `blocks.health`."""

from urllib.parse import parse_qs

from pydapr.blocks.health import Health
from pydapr.errors import NotReady, OutboundNotReady, WrongAppId
from pydapr.net.exchange import Exchange


class HealthApi:
    """Answers `/v1.0/healthz` and `/v1.0/healthz/outbound`: 204, or 500 with what is missing."""

    def __init__(self, health: Health, app_id: str) -> None:
        self._health = health
        self._app_id = app_id

    async def ready(self, exchange: Exchange) -> None:
        """Whether the sidecar runs; with `?appid=` also whether it is that app's."""
        if not self._health.is_ready:
            raise NotReady(self._health.missing)
        query = exchange.target.partition(b"?")[2]
        if query:
            asked = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("appid")
            if asked is not None and asked[0] != self._app_id:
                raise WrongAppId
        exchange.respond(204, ())

    async def outbound(self, exchange: Exchange) -> None:
        """Whether the app can use the sidecar already, before it itself can be reached."""
        if not self._health.is_outbound_ready:
            raise OutboundNotReady
        exchange.respond(204, ())
