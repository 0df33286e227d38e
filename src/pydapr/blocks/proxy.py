"""Proxying: a gRPC call that is none of ours goes, as it is, to the app that its metadata name.

Called by `api.grpc.proxy`, for the own app's wishes and for those of other sidecars, and by `blocks.guarded_proxy`
under policies. Goes on to the app beside this sidecar (`app.grpc`) or to the sidecar of another app
(`peers.sidecar`); the frames pass in `net.relay`.
"""

from typing import Protocol

from pydapr.app import paths
from pydapr.components.nameresolution import Addresses, NotFound, Resolver
from pydapr.errors import Code, RpcError
from pydapr.net.relay import Relay
from pydapr.policy.gate import Gate

_NONE: frozenset[str] = frozenset()


class Sidecars(Protocol):
    """The other sidecars, as `peers.sidecar` reaches them."""

    async def pass_on(self, address: str, app_id: str, namespace: str, relay: Relay) -> bool:
        """Passes the call on; False when nothing of it was taken. Raises `RpcError`, and so of a dead address."""
        ...

    def is_unreached(self, error: RpcError) -> bool: ...


class App(Protocol):
    """The app beside this sidecar, as `app.grpc` reaches it."""

    async def pass_on(self, relay: Relay) -> bool: ...


class Proxy:
    """Passes calls on by app id. `gate` knows who may call what of the app beside this sidecar."""

    def __init__(
        self, app_id: str, namespace: str, resolver: Resolver, sidecars: Sidecars, app: App, gate: Gate | None = None
    ) -> None:
        self._app_id = app_id
        self._namespace = namespace
        self._resolver = resolver
        self._sidecars = sidecars
        self._app = app
        self._gate = gate
        self._turns: dict[tuple[str, str], int] = {}

    async def pass_on(self, target: str, relay: Relay) -> None:
        """Passes a call on to `target`, `app` or `app.namespace`, and its answer back. Raises `RpcError`."""
        app_id, _, namespace = target.partition(".")
        if not target or "." in namespace:
            raise _invalid(target)
        if app_id == self._app_id:
            await self._pass_to_app(relay)
        else:
            await self._pass_to_other(app_id, namespace or self._namespace, relay)

    async def is_other(self, target: str) -> bool:
        """Whether `target` is another app than the one beside this sidecar. Raises `RpcError` when nobody has it."""
        app_id, _, namespace = target.partition(".")
        if not target or "." in namespace:
            raise _invalid(target)
        if app_id == self._app_id:
            return False
        namespace = namespace or self._namespace
        if not self._resolver.known(app_id, namespace):
            await self._resolve(app_id, namespace)
        return True

    async def _pass_to_app(self, relay: Relay) -> None:
        exchange = relay.exchange
        try:
            paths.normalize(exchange.target.decode("utf-8", "surrogateescape"))
        except paths.Invalid as error:
            raise RpcError(Code.INVALID_ARGUMENT, f"invalid method: {error}") from None
        if self._gate is not None:
            self._gate.check(exchange.peer_identity, exchange.target, None)
        if not await self._app.pass_on(relay) and not await self._app.pass_on(relay):
            raise RpcError(Code.UNAVAILABLE, "the app refused the stream")

    async def _pass_to_other(self, app_id: str, namespace: str, relay: Relay) -> None:
        """Tries the instances in turn until one takes the call."""
        missed: frozenset[str] = _NONE
        while True:
            address = await self._address(app_id, namespace, missed)
            try:
                if await self._sidecars.pass_on(address, app_id, namespace, relay):
                    return
                error = RpcError(Code.UNAVAILABLE, f"{address} refused the stream")
            except RpcError as failed:
                if not self._sidecars.is_unreached(failed):
                    raise
                self._resolver.report_dead(app_id, namespace, address)
                error = failed
            missed |= {address}
            if missed.issuperset(self._resolver.known(app_id, namespace)):
                raise error from None

    async def _address(self, app_id: str, namespace: str, missed: frozenset[str]) -> str:
        """The next instance in turn; of those in `missed` only if there is no other."""
        addresses = self._resolver.known(app_id, namespace)
        if not addresses:
            addresses = await self._resolve(app_id, namespace)
        if len(addresses) == 1:
            return addresses[0]
        fresh = [address for address in addresses if address not in missed] or list(addresses)
        turn = self._turns.get((app_id, namespace), -1) + 1
        self._turns[app_id, namespace] = turn
        return fresh[turn % len(fresh)]

    async def _resolve(self, app_id: str, namespace: str) -> Addresses:
        try:
            return await self._resolver.resolve(app_id, namespace)
        except NotFound as error:
            raise RpcError(Code.UNKNOWN, str(error)) from None


def _invalid(target: str) -> RpcError:
    return RpcError(Code.UNKNOWN, f"invalid app id {target}" if target else "app id is empty")
