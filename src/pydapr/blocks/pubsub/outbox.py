"""The outbox: what a transaction writes is published if, and only if, the transaction was done.

An event of each value goes to a topic of the app's own before the transaction, which also writes a mark. Who gets the
event back from that topic publishes it when the mark is there, and removes the mark; without one the transaction was
not done. `blocks.state` calls `plan`, `put_aside` and `over`, `daprd.outbox` has `forward` get the events. The protocol
is the original's (v1.18.3, `pkg/runtime/pubsub/outbox.go`), which looks for the mark only after a second.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from time import time
from typing import Any

import msgspec

from pydapr.blocks.pubsub import cloudevents
from pydapr.blocks.pubsub.errors import OutboxFailed, PublishFailed
from pydapr.blocks.pubsub.publish import Publisher
from pydapr.components.pubsub import NO_METADATA, Message, NotProcessed
from pydapr.components.state import CONTENT_TYPE, Delete, Set, StateError, StateStore
from pydapr.errors import DaprError
from pydapr.lib import truth
from pydapr.lib.record import Record
from pydapr.observe import logging
from pydapr.wire.tracecontext import Trace

log = logging.get("dapr.outbox")

PROJECTION = "outbox.projection"
"""Metadata of an operation that is not written: its value is published in place of that of the same key."""

_MARK = "outbox-"
_PAUSES = (0.02, 0.05, 0.1, 0.3, 0.5, 1, 1.5, 2.5, 3, 3)
"""Seconds between looks for a mark: the transaction may be under way."""

_YOUNG = 12.0
"""Seconds after which it is not: then an event without a mark holds up no other. What is wrong here by clocks that
differ is mended by the event that comes again."""

_FEW = 3
"""Pauses for an event that is not young any more."""

_MOST_DONE = 10_000
"""Events that are remembered as published, so that one that comes again is not taken for one without its mark."""


class Wanted(Record):
    """What a state store's component says of its outbox."""

    pubsub: str
    topic: str
    inner: str
    """The broker of the app's own topic."""
    discards: bool = False
    """Whether an event without its mark is dropped; it comes again otherwise, as often as its broker lets it."""


class Outbox:
    """The stores that have an outbox, by name."""

    def __init__(
        self,
        app_id: str,
        namespace: str,
        wanted: Mapping[str, Wanted],
        stores: Mapping[str, StateStore],
        publisher: Publisher,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._app_id, self._namespace = app_id, namespace
        self.wanted, self._stores = wanted, stores
        self._publisher = publisher
        self._sleep = sleep
        self._ids = cloudevents.Ids()
        self._done: OrderedDict[str, None] = OrderedDict()
        self._under_way: set[str] = set()
        """Marks of this sidecar's transactions that are not over: policies may try them for long."""
        self.is_ending = False
        """The sidecar stops: no mark is waited for any more."""

    def has(self, store: str) -> bool:
        return store in self.wanted

    def topic(self, store: str) -> str:
        """The app's own topic."""
        return f"{self._namespace}{self._app_id}{self.wanted[store].topic}outbox"

    def plan(
        self, store: str, operations: Sequence[Set | Delete], trace: Trace | None
    ) -> tuple[list[Set | Delete], Sequence[bytes]]:
        projections = {one.key: one for one in operations if isinstance(one, Set) and _is_projection(one)}
        written = [one for one in operations if isinstance(one, Delete) or not _is_projection(one)]
        marks: list[Set | Delete] = []
        events = []
        for one in written:
            if isinstance(one, Set):
                mark = _MARK + self._ids().decode()
                marks.append(Set(mark, b'"0"', is_json=True))
                self._under_way.add(mark)
                events.append(self._event(store, mark, one, projections.get(one.key, one), trace))
        return [*written, *marks], events

    def over(self, operations: Sequence[Set | Delete]) -> None:
        self._under_way.difference_update(one.key for one in operations)

    def _event(self, store: str, mark: str, written: Set, shown: Set, trace: Trace | None) -> bytes:
        content_type = shown.content_type or shown.metadata.get(CONTENT_TYPE, "")
        is_known = trace is not None and trace.is_known
        fields: dict[str, Any] = {
            "id": mark,
            "source": self._app_id,
            "type": cloudevents.TYPE,
            "specversion": "1.0",
            "datacontenttype": content_type,
            "topic": "",
            "pubsubname": self.wanted[store].inner,
            "time": cloudevents.moment(time()).decode(),
            "traceid": trace.traceparent.decode() if trace is not None and is_known else "",
            "traceparent": "",
            "tracestate": trace.tracestate.decode("latin-1") if trace is not None and is_known else "",
        }
        event = cloudevents.made(fields, _payload(shown, content_type))
        own = {name: value for name, value in written.metadata.items() if name not in ("data", "id")}
        return cloudevents.with_fields(event, own) if own else event

    async def put_aside(self, store: str, events: Sequence[bytes]) -> None:
        wanted, topic = self.wanted[store], self.topic(store)
        for event in events:
            try:
                await self._publisher.send(wanted.inner, topic, event, NO_METADATA)
            except DaprError as error:
                fault = error.fault if isinstance(error, PublishFailed) else error.message
                raise OutboxFailed(self._app_id, fault) from None

    async def forward(self, store: str, message: Message) -> None:
        """Publishes an event that was put aside. Raises `NotProcessed`."""
        wanted = self.wanted[store]
        try:
            fields = cloudevents.fields_of(message.data)
            mark = msgspec.json.decode(bytes(fields.get("id", b'""')), type=str)
        except ValueError as error:
            raise NotProcessed(f"an event of the outbox is none: {error}") from None
        if mark in self._done:
            await self._forget(store, mark)
            return
        is_under_way = mark in self._under_way
        fault, is_known = await self._await_mark(store, mark, _age(fields))
        if fault:
            text = f"failed to publish outbox topic to pubsub {wanted.pubsub}: {fault}"
            if wanted.discards and is_known and not is_under_way:
                log.error(f"{text}, discarding message")
                return
            log.error(f"{text}, rejecting for later processing")
            raise NotProcessed(fault)
        kind = bytes(fields.get("datacontenttype", b"null"))
        content_type = msgspec.json.decode(kind, type=str | None) if kind[:1] in (b'"', b"n") else ""
        event = cloudevents.with_fields(message.data, {"topic": wanted.topic, "pubsubname": wanted.pubsub})
        try:
            await self._publisher.send(wanted.pubsub, wanted.topic, event, NO_METADATA, content_type or "")
        except DaprError as error:
            raise NotProcessed(error.message) from None
        self._done[mark] = None
        if len(self._done) > _MOST_DONE:
            self._done.popitem(last=False)
        await self._forget(store, mark)

    async def _await_mark(self, store: str, mark: str, age: float) -> tuple[str, bool]:
        """Why there is no mark, "" when it is there, and whether the store says so. Raises `NotProcessed`."""
        wanted, component = self.wanted[store], self._stores[store]
        missing = (
            f"cannot publish outbox message to topic {wanted.topic} with pubsub {wanted.pubsub}: outbox state not found"
        )
        fault, is_known = missing, True
        for pause in (*(_PAUSES if age < _YOUNG else _PAUSES[:_FEW]), 0):
            try:
                item = await component.get(mark)
                if item is not None and item.value:
                    return "", True
                fault, is_known = missing, True
            except StateError as error:
                is_known, fault = False, component.scrub(str(error))
            if self.is_ending:
                raise NotProcessed("the sidecar stops before the state of an event of the outbox was found")
            if pause:
                await self._sleep(pause)
        return fault, is_known

    async def _forget(self, store: str, mark: str) -> None:
        """Removes a mark; what stands in the way is tried again by the event that comes again."""
        component = self._stores[store]
        try:
            await component.delete(Delete(mark))
        except StateError as error:
            fault = component.scrub(str(error))
            raise NotProcessed(f"the mark of an event of the outbox could not be removed: {fault}") from None


def _is_projection(one: Set) -> bool:
    return truth.is_true(one.metadata.get(PROJECTION, ""))


def _age(fields: Mapping[str, msgspec.Raw]) -> float:
    """How old an event is in seconds, 0 where it does not say."""
    try:
        made = datetime.fromisoformat(msgspec.json.decode(bytes(fields.get("time", b"0")), type=str))
        return time() - made.timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _payload(shown: Set, content_type: str) -> bytes:
    """The bytes that an event has as its data: text without quotation marks, unless it is to be JSON."""
    value = shown.value
    if shown.is_json and content_type.lower() != cloudevents.JSON and value.lstrip().startswith(b'"'):
        text: str = msgspec.json.decode(value, type=str)
        return text.encode("utf-8", "replace")
    return value
