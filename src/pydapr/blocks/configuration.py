"""Configuration items for the app: what they are, and who is told when they change.

Called by the faces; goes on to `components.configuration`, and to the app when a subscription over HTTP has news for
it. Rules and words are the original's (v1.18.3, `pkg/api/http/http.go`, `pkg/api/grpc/grpc.go`).
"""

import asyncio
import functools
import json
from collections.abc import Callable, Mapping, Sequence

from pydapr.app.channel import AppChannel, AppUnreachable, Call
from pydapr.components.configuration import (
    ConfigurationError,
    ConfigurationStore,
    Handler,
    Item,
)
from pydapr.errors import (
    AppChannelMissing,
    ConfigurationGetFailed,
    ConfigurationStoreNotFound,
    ConfigurationStoresNotConfigured,
    ConfigurationSubscribeFailed,
    ConfigurationUnsubscribeFailed,
    RpcError,
)
from pydapr.net.body import Body, BodyError
from pydapr.observe import logging
from pydapr.policy import operations, resiliency

log = logging.get("dapr.runtime.http")

_JSON = ((b"content-type", b"application/json"),)


class CallbackFailed(Exception):
    """The app did not take an item."""


class Configuration:
    """The stores by name. `app` gives the channel to the app, None while there is none."""

    def __init__(
        self,
        stores: Mapping[str, ConfigurationStore],
        app: Callable[[], AppChannel | None],
        policies: resiliency.Resiliency | None = None,
    ) -> None:
        self._stores = stores
        self._app = app
        self.operations = operations.Operations(resiliency.CONFIGURATION, ConfigurationError, policies)
        self._callbacks = operations.Operations(resiliency.CONFIGURATION, CallbackFailed, policies, resiliency.INBOUND)
        self._streams: dict[str, asyncio.Event] = {}
        """What is set when a subscription whose changes go out on a stream is over, by its id."""
        self._is_closed = False

    async def get(self, name: str, keys: Sequence[str], metadata: Mapping[str, str]) -> Mapping[str, Item]:
        """The items of `keys`, of all keys without any. Raises `DaprError`."""
        store = self._store(name)
        try:
            return await self.operations.run(name, "get", lambda: store.get(keys, metadata))
        except operations.Failed as error:
            reason = store.scrub(str(error))
            raise ConfigurationGetFailed(
                f"failed to get {_shown(keys)} from Configuration store {name}: {reason}"
            ) from None

    async def subscribe(self, name: str, keys: Sequence[str], metadata: Mapping[str, str], handler: Handler) -> str:
        """The id of a subscription, whose changes `handler` gets. Raises `DaprError`."""
        store = self._store(name)
        try:
            return await self.operations.run(name, "subscribe", lambda: store.subscribe(keys, metadata, handler))
        except operations.Failed as error:
            reason = store.scrub(str(error))
            raise ConfigurationSubscribeFailed(
                f"failed to subscribe {_shown(keys)} from Configuration store {name}: {reason}"
            ) from None

    async def subscribe_app(self, name: str, keys: Sequence[str], metadata: Mapping[str, str]) -> str:
        """The id of a subscription, whose changes are posted to the app. Raises `DaprError`."""
        self._store(name)
        if self._app() is None:
            raise AppChannelMissing("cannot subscribe to configuration updates")

        async def post(subscription: str, items: Mapping[str, Item]) -> None:
            await self._post(name, subscription, items)

        return await self.subscribe(name, keys, metadata, post)

    async def unsubscribe(self, name: str, subscription: str) -> None:
        """Ends a subscription. Raises `DaprError`, `ConfigurationUnsubscribeFailed` when there is none of this id."""
        store = self._store(name)
        try:
            await self.operations.run(name, "unsubscribe", lambda: store.unsubscribe(subscription))
        except operations.Failed as error:
            reason = store.scrub(str(error))
            raise ConfigurationUnsubscribeFailed(
                f"failed to unsubscribe to configuration request {subscription}: {reason}"
            ) from None

    def stream(self, subscription: str, is_over: asyncio.Event) -> None:
        """Remembers a stream, whose `is_over` is set when somebody else ends it."""
        self._streams[subscription] = is_over
        if self._is_closed:
            is_over.set()

    def end_stream(self, subscription: str) -> bool:
        """Whether there was a stream of this subscription, which has not long to live now."""
        is_over = self._streams.pop(subscription, None)
        if is_over is None:
            return False
        is_over.set()
        return True

    def close(self) -> None:
        """Ends all streams, and those that begin later."""
        self._is_closed = True
        for subscription in list(self._streams):
            self.end_stream(subscription)

    def _store(self, name: str) -> ConfigurationStore:
        if not self._stores:
            raise ConfigurationStoresNotConfigured
        found = self._stores.get(name)
        if found is None:
            raise ConfigurationStoreNotFound(name)
        return found

    async def _post(self, name: str, subscription: str, items: Mapping[str, Item]) -> None:
        """Tells the app of all items once for each, as the original does. What it does not take is lost to it."""
        body = json.dumps({"id": subscription, "items": documents(items)}, ensure_ascii=False).encode(
            "utf-8", "replace"
        )
        for key in items:
            try:
                await self._callbacks.run(
                    name, "", functools.partial(self._call_app, f"configuration/{name}/{key}", body)
                )
            except operations.Failed as error:
                log.error(f"error sending configuration item to the app: {error}")

    async def _call_app(self, method: str, body: bytes) -> None:
        channel = self._app()
        if channel is None:
            raise CallbackFailed(f"app channel is nil. unable to send configuration update for {method}")
        try:
            answer = await channel.invoke(Call(b"POST", method, b"", _JSON, Body.of(body)))
            answer.close()
        except (AppUnreachable, RpcError, BodyError) as error:
            raise CallbackFailed(str(error)) from None
        if answer.status != 200:
            raise CallbackFailed(f"error sending configuration item to application, status {answer.status}")


def documents(items: Mapping[str, Item]) -> dict[str, dict[str, object]]:
    """Items as the objects that they are in JSON, where what is empty is left out."""
    return {
        key: {
            name: value
            for name, value in (
                ("value", items[key].value),
                ("version", items[key].version),
                ("metadata", dict(items[key].metadata)),
            )
            if value
        }
        for key in sorted(items)
    }


def _shown(keys: Sequence[str]) -> str:
    """As Go prints a list."""
    return f"[{' '.join(keys)}]"
