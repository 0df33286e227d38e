"""The configuration API over gRPC. Called by the router; asks `blocks.configuration`.

A subscription is a stream, and ends with it; UnsubscribeConfiguration, which the original calls deprecated, ends it
from elsewhere.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydapr.api.grpc import unary
from pydapr.blocks.configuration import Configuration
from pydapr.errors import Code, ConfigurationUnsubscribeFailed, RpcError
from pydapr.net.body import BodyError
from pydapr.net.grpc_stream import Stream
from pydapr.net.http2_server import ServerExchange
from pydapr.observe import logging

if TYPE_CHECKING:
    from pydapr.components.configuration import Item
    from pydapr.observe.metrics_service import ErrorMetrics
    from pydapr.proto.dapr.proto.common.v1 import common_pb2

log = logging.get("dapr.runtime.grpc.api")


class ConfigurationApi:
    """Answers GetConfiguration, SubscribeConfiguration and UnsubscribeConfiguration, and their alpha forms.

    `metrics` count the error that an answer tells of without being one.
    """

    def __init__(self, configuration: Configuration, metrics: "ErrorMetrics | None" = None) -> None:
        self._configuration, self._metrics = configuration, metrics

    async def get(self, exchange: ServerExchange, data: bytes) -> bytes:
        """Items by key."""
        from pydapr.proto.dapr.proto.runtime.v1 import configuration_pb2

        asked = unary.decode(configuration_pb2.GetConfigurationRequest, data)
        found = await self._configuration.get(asked.store_name, list(asked.keys), dict(asked.metadata))
        return configuration_pb2.GetConfigurationResponse(items=_items(found)).SerializeToString()

    async def subscribe(self, stream: Stream) -> None:
        """First the id of the subscription, then each change, until the client goes or the subscription ends."""
        from pydapr.proto.dapr.proto.runtime.v1 import configuration_pb2

        data = await stream.next()
        if data is None:
            raise RpcError(Code.INTERNAL, "EOF")
        asked = unary.decode(configuration_pb2.SubscribeConfigurationRequest, data)
        is_greeted, is_over = asyncio.Event(), asyncio.Event()

        async def tell(subscription: str, items: "Mapping[str, Item]") -> None:
            await is_greeted.wait()
            change = configuration_pb2.SubscribeConfigurationResponse(id=subscription, items=_items(items))
            try:
                await stream.send(change.SerializeToString())
            except BodyError:  # the client has gone, and so will the subscription
                is_over.set()

        store, keys = asked.store_name, sorted(asked.keys)
        subscription = await self._configuration.subscribe(store, keys, dict(asked.metadata), tell)
        self._configuration.stream(subscription, is_over)
        try:
            greeting = configuration_pb2.SubscribeConfigurationResponse(id=subscription)
            await stream.send(greeting.SerializeToString())
            is_greeted.set()
            await is_over.wait()
        finally:
            self._configuration.end_stream(subscription)
            await self._end(store, subscription)

    async def _end(self, store: str, subscription: str) -> None:
        try:
            await self._configuration.unsubscribe(store, subscription)
        except ConfigurationUnsubscribeFailed as error:  # over HTTP it may have been ended before
            log.debug(error.message)

    async def unsubscribe(self, exchange: ServerExchange, data: bytes) -> bytes:
        """Ends a stream; whether there was one."""
        from pydapr.proto.dapr.proto.runtime.v1 import configuration_pb2

        asked = unary.decode(configuration_pb2.UnsubscribeConfigurationRequest, data)
        if not self._configuration.end_stream(asked.id):
            text = f"failed to unsubscribe to configuration request {asked.id}: subscription does not exist"
            if self._metrics is not None:
                self._metrics.answered(ConfigurationUnsubscribeFailed(text))
            return configuration_pb2.UnsubscribeConfigurationResponse(message=text).SerializeToString()
        log.warning(
            "Unsubscribing using UnsubscribeConfiguration is deprecated. "
            "Disconnect from the SubscribeConfiguration RPC instead."
        )
        return configuration_pb2.UnsubscribeConfigurationResponse(ok=True).SerializeToString()


def _items(found: "Mapping[str, Item]") -> "dict[str, common_pb2.ConfigurationItem]":
    from pydapr.proto.dapr.proto.common.v1 import common_pb2

    return {
        key: common_pb2.ConfigurationItem(value=item.value, version=item.version, metadata=dict(item.metadata))
        for key, item in found.items()
    }
