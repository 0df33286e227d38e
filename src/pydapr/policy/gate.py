"""The gate before the app: asks `policy.access`, remembers what passes, counts, and words the refusals.

Made once at the start by `daprd.runtime`. Asked by `api.internal` for calls that other sidecars make, and by
`blocks.proxy` for gRPC calls that pass through to the app. Words are the original's (v1.18.3, `pkg/acl/acl.go`).
"""

from typing import TYPE_CHECKING

from pydapr.errors import Code, RpcError
from pydapr.observe import logging
from pydapr.observe.metrics import Count
from pydapr.policy import access
from pydapr.security import spiffe

if TYPE_CHECKING:
    from pydapr.observe.metrics_service import AccessMetrics

log = logging.get("dapr.acl")

KNOWN, LONGEST = 4096, 256
"""How many calls that may pass are remembered, and the length of their operations."""


class Gate:
    """Lets calls pass or refuses them."""

    def __init__(self, rules: access.Access, metrics: "AccessMetrics | None" = None) -> None:
        self._rules = rules
        self._metrics = metrics
        self._passed: dict[tuple[str, str, str | None], Count] = {}

    def check(self, caller: str, operation: str, verb: str | None) -> None:
        """Whether `caller` may call `operation`, in its canonical form. Raises `RpcError` if not.

        `caller` is the SPIFFE id that its certificate shows, empty without one. `verb` is empty where there is none,
        and None for a gRPC call that passes through.
        """
        count = self._passed.get((caller, operation, verb))
        if count is None:
            count = self._judge(caller, operation, verb)
        count.value += 1

    def _judge(self, caller: str, operation: str, verb: str | None) -> Count:
        try:
            who = spiffe.parse(caller) if caller else None
        except spiffe.Malformed as error:
            log.debug(f"failed to get SPIFFE ID from gRPC connection context: {error}")
            raise RpcError(Code.PERMISSION_DENIED, str(error)) from None
        rules = self._rules
        decision = rules.decide_passing(who, operation) if verb is None else rules.decide(who, operation, verb)
        count = self._counting(decision, who)
        if not decision.is_allowed:
            count.value += 1
            shown = caller if who is not None else ""
            text = (
                f"access control policy has denied access to id: {shown} operation: {operation} verb: {verb or 'NONE'}"
            )
            log.debug(text)
            raise RpcError(Code.PERMISSION_DENIED, text)
        if len(operation) <= LONGEST:
            if len(self._passed) >= KNOWN:
                self._passed.clear()
            self._passed[caller, operation, verb] = count
        return count

    def _counting(self, decision: access.Decision, who: spiffe.Id | None) -> Count:
        if self._metrics is None:
            return Count()
        names = ("", "", "") if who is None else (who.app_id, who.namespace, who.trust_domain)
        return self._metrics.series(decision.is_allowed, decision.by_app, *names)
