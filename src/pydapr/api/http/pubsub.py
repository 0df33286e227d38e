"""The publish API over HTTP. Called by the router; asks `blocks.pubsub.publish`; `pubsub_bodies` has bodies of many."""

from collections.abc import Callable, Mapping

from pydapr.api.http import errors
from pydapr.blocks.pubsub.errors import BulkFailed, EventsUnreadable, PublishFailed
from pydapr.blocks.pubsub.publish import Publisher
from pydapr.components.pubsub import NO_METADATA
from pydapr.errors import DaprError
from pydapr.lib import urls
from pydapr.net.body import BodyError, Disconnected, TooLarge
from pydapr.net.exchange import Exchange
from pydapr.wire import headers

PREFIX = b"/v1.0/publish/"
BULK_PREFIXES = b"/v1.0/publish/bulk/", b"/v1.0-alpha1/publish/bulk/"

_MOST_KNOWN = 1000
_LONGEST_FIELD = 16384
"""Bytes of a field in the head of an answer; clients do not take every length."""


class PublishApi:
    """Answers what is below `/v1.0/publish/`. `count` is told of errors that are not answered as such."""

    def __init__(self, publisher: Publisher, max_body: int, count: Callable[[DaprError], None] | None = None) -> None:
        self._publisher = publisher
        self._max_body = max_body
        self._count = count
        self._known: dict[bytes, tuple[str, str]] = {}
        """Broker and topic of targets without a query, which a client sends again and again."""

    async def publish(self, exchange: Exchange) -> None:
        """One event."""
        name, topic, metadata = self._place(exchange.target, PREFIX)
        line = self._publisher.line(name, topic, metadata)
        try:
            data = await exchange.body.read_all(self._max_body)
        except TooLarge:
            raise PublishFailed(name, topic, "stream too large") from None
        except Disconnected:
            raise
        except BodyError as error:
            raise PublishFailed(name, topic, str(error)) from None
        kind = headers.first(exchange.headers, b"content-type")
        content_type = kind.decode("latin-1") if kind else ""
        await self._publisher.publish(line, topic, data, content_type, metadata, exchange.trace, is_http=True)
        exchange.respond(204, ())

    async def publish_many(self, exchange: Exchange) -> None:
        """Many events of one topic. When some could not be published, the answer tells which."""
        from pydapr.api.http import pubsub_bodies

        target = exchange.target
        prefix = next(prefix for prefix in BULK_PREFIXES if target.startswith(prefix))
        name, topic, metadata = self._place(target, prefix)
        line = self._publisher.line(name, topic, metadata)
        self._publisher.is_raw(line, metadata)
        app_id = self._publisher.app_id
        try:
            body = await exchange.body.read_all(self._max_body)
        except TooLarge:
            raise EventsUnreadable(name, topic, app_id, "stream too large") from None
        events = pubsub_bodies.events(body, name, topic, app_id, metadata)
        span = urls.decode(target.partition(b"?")[0])
        try:
            await self._publisher.publish_many(
                line, topic, events, metadata, exchange.trace, span=span, is_http=True
            )  # fmt: skip
        except BulkFailed as error:
            self._tell(exchange, error)
            return
        exchange.respond(204, ())

    def _place(self, target: bytes, prefix: bytes) -> tuple[str, str, Mapping[str, str]]:
        """Broker, topic and metadata that a target names."""
        known = self._known.get(target)
        if known is not None:
            return *known, NO_METADATA
        name, *topic = urls.whole(urls.segments(target, prefix))
        place = name, "/".join(topic)
        if b"?" in target:
            return *place, urls.metadata(target)
        if len(self._known) < _MOST_KNOWN:
            self._known[target] = place
        return *place, {}

    def _tell(self, exchange: Exchange, error: BulkFailed) -> None:
        if self._count is not None:
            self._count(error)
        entries = [{"entryId": name, "error": reason} for name, reason in error.failed.items()]
        body = errors.encode({"failedEntries": entries, "errorCode": error.code})
        text = f"api error: code = Internal desc = {error.message}".encode()
        told = [
            (name, value.replace(b"\r", b" ").replace(b"\n", b" "))
            for name, value in ((b"metadata.error", text), (b"metadata.responsedata", body))
            if len(value) <= _LONGEST_FIELD
        ]
        exchange.respond(error.status, (*errors.JSON, *told), body)
