"""Service invocation: from the name of an app to an answer of it.

Called by the faces (`api.http.invoke` for the own app's wishes, `api.internal` for those of other sidecars).
Goes on to the app beside this sidecar (`app.channel`), to the sidecar of another app (`peers.sidecar`) or to
a server named by a URL.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from mypy_extensions import mypyc_attr

from pydapr.app import paths
from pydapr.app.channel import Answer, AppChannel, AppUnreachable, Call
from pydapr.components.nameresolution import NotFound, Resolver
from pydapr.errors import Code, InvokeDenied, InvokeFailed, RpcError
from pydapr.lib import memo
from pydapr.net.body import Body, BodyError
from pydapr.policy import built_in
from pydapr.policy.tries import Tries

if TYPE_CHECKING:
    from pydapr.policy.resiliency import Resiliency

REPLAYABLE_BYTES = 4 * 1024 * 1024
"""Bodies of known length up to this size are held, so that a lost connection can be made good."""

MAX_URLS = 256
"""Servers named by URLs whose connections are kept."""

_LOST = (Code.UNAVAILABLE, Code.UNAUTHENTICATED)
_NONE: frozenset[str] = frozenset()


class Sidecars(Protocol):
    """The other sidecars, as `peers.sidecar` reaches them."""

    async def invoke(self, address: str, app_id: str, namespace: str, call: Call) -> Answer:
        """Raises `RpcError`; of it `Unreached` when nothing was sent because there is no connection."""
        ...

    def is_unreached(self, error: RpcError) -> bool: ...


ChannelToUrl = Callable[[str], AppChannel]
"""Makes the channel to a server, named by `http(s)://host:port`. Raises `ValueError` for what is no such URL."""


@memo.of_short(1024)
def _split(target: str) -> tuple[str, str]:
    """App id and namespace of `app` or `app.namespace`, "" for none. Raises `ValueError`."""
    app_id, _, namespace = target.partition(".")
    if "." in namespace:
        raise ValueError(f"invalid app id {target}")
    try:
        target.encode()
    except UnicodeEncodeError:
        raise ValueError("invalid app id: it is no UTF-8") from None
    return app_id, namespace


@mypyc_attr(allow_interpreted_subclasses=True)
class Invoker:
    """Calls apps by name, for the app beside this sidecar and on behalf of others."""

    def __init__(
        self,
        app_id: str,
        namespace: str,
        resolver: Resolver,
        sidecars: Sidecars,
        channel_to_url: ChannelToUrl,
    ) -> None:
        self._app_id = app_id
        self._namespace = namespace
        self._resolver = resolver
        self._sidecars = sidecars
        self._channel_to_url = channel_to_url
        self._turns: dict[tuple[str, str], int] = {}
        self._urls: dict[str, AppChannel] = {}
        self.app: AppChannel | None = None
        """The app beside this sidecar, None when it has none."""
        self.policies: Resiliency | None = None
        """What Resiliency resources say, None without any."""
        self.endpoints: Mapping[str, AppChannel] = {}
        """Servers outside of Dapr that have a name (HTTPEndpoint); their names win over app ids."""

    async def invoke(self, target: str, call: Call) -> Answer:
        """Calls `target`: an app id, `app.namespace`, or a URL. Raises `InvokeFailed`."""
        try:
            call.method = paths.normalize(call.method)
            if target.startswith(("http://", "https://")):
                return await self._invoke_url(target, call)
            app_id, namespace = _split(target)
            namespace = namespace or self._namespace
            if app_id in self.endpoints:
                return await self.endpoints[app_id].invoke(call)
            if app_id == self._app_id and namespace == self._namespace:
                return await self._invoke_own(call)
            return await self._invoke_remote(app_id, namespace, call)
        except paths.Invalid as error:
            status = RpcError(Code.INVALID_ARGUMENT, f"invalid method: {error}")
            raise InvokeFailed(f"failed to invoke, id: {target}, err: {status}") from None
        except RpcError as failure:
            denied = failure.code == Code.PERMISSION_DENIED
            kind = InvokeDenied if denied else InvokeFailed
            raise kind(f"failed to invoke, id: {target}, err: {failure}") from None
        except (NotFound, AppUnreachable, BodyError, ValueError) as cause:
            raise InvokeFailed(f"failed to invoke, id: {target}, err: {cause}") from None

    async def call_app(self, call: Call) -> Answer:
        """Calls the app beside this sidecar for another sidecar. Raises `RpcError`."""
        if self.app is None:
            raise RpcError(Code.INTERNAL, "app channel is not initialized")
        try:
            call.method = paths.normalize(call.method)
        except paths.Invalid as error:
            raise RpcError(Code.INVALID_ARGUMENT, f"invalid method: {error}") from None
        try:
            return await self.app.invoke(call)
        except (AppUnreachable, BodyError, RpcError) as cause:
            raise RpcError(Code.INTERNAL, f"error invoking app channel: {cause}") from None

    async def _invoke_own(self, call: Call) -> Answer:
        if self.app is None:
            raise AppUnreachable("cannot invoke local endpoint: app channel not initialized")
        return await self.app.invoke(call)

    async def _invoke_url(self, url: str, call: Call) -> Answer:
        channel = self._urls.get(url)
        if channel is None:
            channel = self._channel_to_url(url)
            if len(self._urls) >= MAX_URLS:
                self._urls.pop(next(iter(self._urls))).retire()
            self._urls[url] = channel
        return await channel.invoke(call)

    # -- other sidecars --

    async def _invoke_remote(self, app_id: str, namespace: str, call: Call) -> Answer:
        """Tries the instances in turn; a lost connection is made good up to three times, a second apart."""
        body = call.body
        if not body.is_whole and body.length is not None and body.length <= REPLAYABLE_BYTES:
            body = call.body = Body.of(await body.read_all())
        can_replay = body.is_whole
        has_own_policy = self.policies is not None and self.policies.names_app(app_id)
        tries: Tries | None = None
        lost: RpcError | None = None
        missed: frozenset[str] = _NONE
        while True:
            try:
                address = await self._address(app_id, namespace, missed)
                answer = await self._sidecars.invoke(address, app_id, namespace, call)
            except NotFound:
                if lost is None:
                    raise
                # It was there a moment ago, so it may be on its way back: the retries go on.
            except RpcError as error:
                if error.code not in _LOST:
                    raise
                if self._sidecars.is_unreached(error):
                    self._resolver.report_dead(app_id, namespace, address)
                elif has_own_policy or not can_replay:
                    raise
                lost = error
                missed |= {address}
                if not missed.issuperset(self._resolver.known(app_id, namespace)):
                    continue
            else:
                if tries is not None:
                    tries.succeeded()
                return answer
            if has_own_policy:
                raise lost
            tries = tries or self._built_in_tries()
            pause = self._pause(tries, lost) if can_replay else None
            if pause is None:
                raise InvokeFailed(
                    f"failed to invoke, id: {app_id}, err: failed to invoke target {app_id} "
                    f"after {tries.retries} retries. Error: {lost}"
                )
            missed = _NONE
            await asyncio.sleep(pause)

    def _built_in_tries(self) -> Tries:
        """The built-in policy, or what a resource has put in its place."""
        retries = built_in.RETRIES if self.policies is None else self.policies.retries
        return Tries(built_in.SERVICE, retries[built_in.SERVICE], asyncio.get_running_loop().time())

    def _pause(self, tries: Tries, error: RpcError) -> float | None:
        return tries.after_failure(asyncio.get_running_loop().time(), random.random(), error)

    async def _address(self, app_id: str, namespace: str, missed: frozenset[str]) -> str:
        """The next instance in turn; of those in `missed` only if there is no other."""
        addresses = self._resolver.known(app_id, namespace)
        if not addresses:
            addresses = await self._resolver.resolve(app_id, namespace)
        if len(addresses) == 1:
            return addresses[0]
        fresh = [address for address in addresses if address not in missed] if missed else addresses
        key = (app_id, namespace)
        turn = self._turns.get(key, -1) + 1
        self._turns[key] = turn
        fresh = fresh or addresses
        return fresh[turn % len(fresh)]

    def close(self) -> None:
        """Breaks off calls to the app and to URLs."""
        for channel in [*self._urls.values(), *self.endpoints.values(), *([self.app] if self.app else [])]:
            channel.close()
        self._urls.clear()
