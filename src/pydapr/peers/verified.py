"""Connections to other sidecars over TLS: a pool for each app, in which every server has shown that it is this app.

Made by `daprd.identity`, used by `peers.sidecar`. An app is known by namespace and app id, in whatever trust domain,
as with the original (v1.18.3, `pkg/security/security.go`): what counts is that its certificate is under our anchors.
"""

from collections.abc import Callable

from pydapr.net import http2_pool
from pydapr.wire import http2

KNOWN = 1024
"""Apps whose pools are kept even when nobody is connected to them."""

Connect = Callable[[str, str], http2_pool.Connector]
"""The way to an app, by app id and namespace."""


class Pools:
    """The pools by app. `close` breaks off whatever is under way."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._pools: dict[tuple[str, str], http2_pool.Pool] = {}

    def of(self, app_id: str, namespace: str) -> http2_pool.Pool:
        """The connections to an app."""
        pool = self._pools.get((app_id, namespace))
        if pool is None:
            if len(self._pools) >= KNOWN:
                self._forget()
            pool = self._pools[app_id, namespace] = http2_pool.Pool(self._connect(app_id, namespace), http2.Limits())
        return pool

    def _forget(self) -> None:
        """Leaves out those that nobody uses."""
        self._pools = {app: pool for app, pool in self._pools.items() if not pool.is_unused}

    def retire(self) -> None:
        """Makes new connections for what comes from now on: ours or theirs has another certificate, or other anchors
        count. What is under way ends on the old ones."""
        for pool in self._pools.values():
            pool.retire()

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
