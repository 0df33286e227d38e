"""The gate before the app: asks `policy.access`, remembers what passes, counts, and words the refusals.

Made once at the start by `daprd.runtime`. Asked by `api.internal` for calls that other sidecars make, and by
`blocks.proxy` for gRPC calls that pass through to the app. Words are the original's (v1.18.3, `pkg/acl/acl.go`).
"""

from collections.abc import Callable
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
"""How many calls that may pass are remembered, and the length of their methods."""


class Gate:
    """Lets calls pass or refuses them. `canonical` gives the form of a method that rules are decided on, or
    raises `ValueError`."""

    def __init__(
        self, rules: access.Access, canonical: Callable[[str], str], metrics: "AccessMetrics | None" = None
    ) -> None:
        self._rules = rules
        self._canonical = canonical
        self._metrics = metrics
        self._passed: dict[tuple[str, bytes, bytes | None], Count] = {}

    def check(self, caller: str, method: bytes, verb: bytes | None) -> None:
        """Whether `caller` may call `method`, as it came. Raises `RpcError` if not.

        `caller` is the SPIFFE id that its certificate shows, empty without one. `verb` is empty where there is none,
        and None for a gRPC call that passes through.
        """
        count = self._passed.get((caller, method, verb))
        if count is None:
            count = self._judge(caller, method, verb)
        count.value += 1

    def _judge(self, caller: str, method: bytes, verb: bytes | None) -> Count:
        try:
            operation = self._canonical(method.decode("utf-8", "surrogateescape"))
        except ValueError as error:
            raise RpcError(Code.INVALID_ARGUMENT, f"invalid method: {error}") from None
        try:
            who = spiffe.parse(caller) if caller else None
        except spiffe.Malformed as error:
            log.debug(f"failed to get SPIFFE ID from gRPC connection context: {error}")
            raise RpcError(Code.PERMISSION_DENIED, str(error)) from None
        rules, name = self._rules, (verb or b"").decode()
        decision = rules.decide_passing(who, operation) if verb is None else rules.decide(who, operation, name)
        count = self._counting(decision, who)
        if not decision.is_allowed:
            count.value += 1
            text = (
                f"access control policy has denied access to id: {caller} operation: {operation} verb: {name or 'NONE'}"
            )
            log.debug(text)
            raise RpcError(Code.PERMISSION_DENIED, text)
        if len(method) <= LONGEST:
            if len(self._passed) >= KNOWN:
                self._passed.clear()
            self._passed[caller, method, verb] = count
        return count

    def _counting(self, decision: access.Decision, who: spiffe.Id | None) -> Count:
        if self._metrics is None:
            return Count()
        names = ("", "", "") if who is None else (who.app_id, who.namespace, who.trust_domain)
        return self._metrics.series(decision.is_allowed, decision.by_app, *names)
