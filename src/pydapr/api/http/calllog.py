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

_GET, _POST, _PUT, _DELETE = b"GET", b"POST", b"PUT", b"DELETE"
_WRITE = (_POST, _PUT)
_ACTOR = b"/v1.0/actors/*/*/"
_STATE, _STATE_ALPHA = b"/v1.0/state/", b"/v1.0-alpha1/state/"
_CONFIGURATION = (b"/v1.0/configuration/", b"/v1.0-alpha1/configuration/")
_JOBS = (b"/v1.0/jobs/*", b"/v1.0-alpha1/jobs/*")
_SUBTLE = b"/v1.0-alpha1/subtlecrypto/*/"

_NAMED: tuple[tuple[str, tuple[bytes, ...], tuple[bytes, ...]], ...] = (
    ("Healthz", (_GET,), (b"/v1.0/healthz",)),
    ("HealthzOutbound", (_GET,), (b"/v1.0/healthz/outbound",)),
    ("GetMetadata", (_GET,), (b"/v1.0/metadata",)),
    ("PutMetadata", (_PUT,), (b"/v1.0/metadata/*",)),
    ("Shutdown", (_POST,), (b"/v1.0/shutdown",)),
    ("GetBulkSecret", (_GET,), (b"/v1.0/secrets/*/bulk",)),
    ("GetSecret", (_GET,), (b"/v1.0/secrets/*/*",)),
    ("GetState", (_GET,), (_STATE + b"*/*",)),
    ("DeleteState", (_DELETE,), (_STATE + b"*/*",)),
    ("SaveState", _WRITE, (_STATE + b"*",)),
    ("GetBulkState", _WRITE, (_STATE + b"*/bulk",)),
    ("ExecuteStateTransaction", _WRITE, (_STATE + b"*/transaction",)),
    ("QueryStateAlpha1", _WRITE, (_STATE_ALPHA + b"*/query",)),
    ("ListStateKeys", (_GET,), (_STATE_ALPHA + b"*",)),
    ("PublishEvent", _WRITE, (b"/v1.0/publish/*/**",)),
    ("BulkPublishEvent", _WRITE, (b"/v1.0/publish/bulk/*/**", b"/v1.0-alpha1/publish/bulk/*/**")),
    ("BrowseTopic", (_GET,), (b"/v1.0-alpha1/publish/*/**",)),
    ("ReplayEvents", (_POST,), (b"/v1.0-alpha1/publish/*/**",)),
    ("InvokeBinding", _WRITE, (b"/v1.0/bindings/*",)),
    ("InvokeActor", (_GET, _POST, _DELETE, _PUT), (_ACTOR + b"method/*",)),
    ("GetActorState", (_GET,), (_ACTOR + b"state/*",)),
    ("ExecuteActorStateTransaction", _WRITE, (_ACTOR + b"state",)),
    ("RegisterActorReminder", _WRITE, (_ACTOR + b"reminders/*",)),
    ("GetActorReminder", (_GET,), (_ACTOR + b"reminders/*",)),
    ("UnregisterActorReminder", (_DELETE,), (_ACTOR + b"reminders/*",)),
    ("RegisterActorTimer", _WRITE, (_ACTOR + b"timers/*",)),
    ("UnregisterActorTimer", (_DELETE,), (_ACTOR + b"timers/*",)),
    ("ScheduleJob", (_POST,), _JOBS),
    ("GetJob", (_GET,), _JOBS),
    ("DeleteJob", (_DELETE,), _JOBS),
    ("GetConfiguration", (_GET,), tuple(prefix + b"*" for prefix in _CONFIGURATION)),
    ("SubscribeConfiguration", (_GET,), tuple(prefix + b"*/subscribe" for prefix in _CONFIGURATION)),
    ("UnsubscribeConfiguration", (_GET,), tuple(prefix + b"*/*/unsubscribe" for prefix in _CONFIGURATION)),
    ("TryLock", (_POST,), (b"/v1.0-alpha1/lock/*",)),
    ("Unlock", (_POST,), (b"/v1.0-alpha1/unlock/*",)),
    ("Encrypt", (_PUT,), (b"/v1.0-alpha1/crypto/*/encrypt",)),
    ("Decrypt", (_PUT,), (b"/v1.0-alpha1/crypto/*/decrypt",)),
    ("SubtleGetKey", (_POST,), (_SUBTLE + b"getkey",)),
    ("SubtleEncrypt", (_POST,), (_SUBTLE + b"encrypt",)),
    ("SubtleDecrypt", (_POST,), (_SUBTLE + b"decrypt",)),
    ("SubtleWrapKey", (_POST,), (_SUBTLE + b"wrapkey",)),
    ("SubtleUnwrapKey", (_POST,), (_SUBTLE + b"unwrapkey",)),
    ("SubtleSign", (_POST,), (_SUBTLE + b"sign",)),
    ("SubtleVerify", (_POST,), (_SUBTLE + b"verify",)),
    ("Converse", (_POST,), (b"/v1.0-alpha1/conversation/*/converse", b"/v1.0-alpha2/conversation/*/converse")),
)

NAMES: Mapping[Route, str] = {
    (method, path): name for name, methods, routes in _NAMED for method in methods for path in routes
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
