"""Who may speak for an app: with mTLS the app itself, without it everybody.

Called by `service` and `watching` before anything else. Statuses and words are the original's (v1.18.3,
`pkg/scheduler/server/internal/authz`).
"""

from pydapr.errors import Code, RpcError
from pydapr.net.http2_server import ServerExchange
from pydapr.observe.metrics import Count
from pydapr.security import spiffe


class Authorizer:
    """`refused` counts who was refused."""

    def __init__(self, with_tls: bool, refused: Count) -> None:
        self._with_tls = with_tls
        self._refused = refused

    def check(self, exchange: ServerExchange, namespace: str, app_id: str) -> None:
        """Raises `RpcError`."""
        if not (namespace and app_id):
            raise self._refuse(Code.INVALID_ARGUMENT, "missing namespace or appID in request")
        if not self._with_tls:
            return
        try:
            caller = spiffe.parse(exchange.peer_identity)
        except spiffe.Malformed:
            raise self._refuse(Code.UNAUTHENTICATED, "failed to get identity from context") from None
        if (caller.namespace, caller.app_id) != (namespace, app_id):
            raise self._refuse(Code.PERMISSION_DENIED, "identity does not match request")

    def _refuse(self, code: Code, reason: str) -> RpcError:
        self._refused.value += 1
        return RpcError(code, reason)
