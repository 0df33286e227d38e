"""API logging (`--enable-api-logging`, `spec.logging.apiLogging`): a line for each call. In the chain only when on.

Stands directly before the router, behind tokens and middleware: what they turn away is not logged (v1.18.3,
`pkg/api/http/server.go`).
"""

import time
from collections.abc import Callable, Mapping

from pydapr.api.http import invoke, measured
from pydapr.lib import urls
from pydapr.net.exchange import Exchange, Handler
from pydapr.observe import logging
from pydapr.wire import headers as names

log = logging.get("dapr.runtime.http-info")

Route = tuple[bytes, bytes]

_ACTORS = b"/v1.0/actors/*/*/"

NAMES: Mapping[Route, str] = {
    (b"GET", b"/v1.0/healthz"): "Healthz",
    (b"GET", b"/v1.0/healthz/outbound"): "HealthzOutbound",
    (b"GET", b"/v1.0/metadata"): "GetMetadata",
    (b"PUT", b"/v1.0/metadata/*"): "PutMetadata",
    (b"POST", b"/v1.0/shutdown"): "Shutdown",
    (b"GET", b"/v1.0/secrets/*/bulk"): "GetBulkSecret",
    (b"GET", b"/v1.0/secrets/*/*"): "GetSecret",
    **dict.fromkeys(((method, b"/v1.0/publish/*/**") for method in (b"POST", b"PUT")), "PublishEvent"),
    **dict.fromkeys(
        (
            (method, version + b"/publish/bulk/*/**")
            for method in (b"POST", b"PUT")
            for version in (b"/v1.0", b"/v1.0-alpha1")
        ),
        "BulkPublishEvent",
    ),
    **dict.fromkeys(
        ((method, _ACTORS + b"method/*") for method in (b"GET", b"POST", b"DELETE", b"PUT")), "InvokeActor"
    ),
    (b"GET", _ACTORS + b"state/*"): "GetActorState",
    **dict.fromkeys(((method, _ACTORS + b"state") for method in (b"POST", b"PUT")), "ExecuteActorStateTransaction"),
    **dict.fromkeys(((method, _ACTORS + b"reminders/*") for method in (b"POST", b"PUT")), "RegisterActorReminder"),
    **dict.fromkeys(((method, _ACTORS + b"timers/*") for method in (b"POST", b"PUT")), "RegisterActorTimer"),
    (b"GET", _ACTORS + b"reminders/*"): "GetActorReminder",
    (b"DELETE", _ACTORS + b"reminders/*"): "UnregisterActorReminder",
    (b"DELETE", _ACTORS + b"timers/*"): "UnregisterActorTimer",
}
"""What a route is called in lines that do not show URLs."""

_HEALTH = frozenset({"Healthz", "HealthzOutbound"})


class CallLog:
    """Logs the calls that `inner` answers. `route` tells which route answers an exchange, None for invocation."""

    def __init__(
        self,
        inner: Handler,
        route: Callable[[Exchange], Route | None],
        hides_urls: bool,
        omits_health: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner = inner
        self._route = route
        self._hides_urls = hides_urls
        self._omits_health = omits_health
        self._clock = clock

    async def __call__(self, exchange: Exchange) -> None:
        route = self._route(exchange)
        name = NAMES.get(route, "") if route is not None else ""
        if self._omits_health and name in _HEALTH:
            await self._inner(exchange)
            return
        if not self._hides_urls:
            name = f"{exchange.method.decode('latin-1')} {_path(exchange)}"
        elif route is None:
            name = f"InvokeService/{invoke.target_of(exchange)}".rstrip("/")
        elif name == "InvokeActor":
            name = "/".join((name, ".".join(_path(exchange).split("/")[3:5])))
        agent = names.first(exchange.headers, b"user-agent")
        fields: dict[str, object] = {"useragent": agent.decode("utf-8", "replace")} if agent else {}
        counted = measured.Counted(exchange)
        began = self._clock()
        try:
            await self._inner(counted)
        finally:  # a call that the client gave up is one, too
            took = int((self._clock() - began) * 1000)
            log.always("HTTP API Called", method=name, code=counted.status, size=counted.size, duration=took, **fields)


def _path(exchange: Exchange) -> str:
    path = exchange.target.partition(b"?")[0]
    try:
        return urls.decode(path)
    except ValueError:
        return path.decode("latin-1")
