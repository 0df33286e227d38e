"""Delivers many events at once to an app that speaks gRPC: a call of OnBulkTopicEvent, and its answer.

Called by `bulk`; goes on to `app.grpc`. An app that knows only the method's alpha name is called by that one. What an
app gets, outcomes and the words of the log are the original's (v1.18.3,
`pkg/runtime/subscription/postman/grpc/grpc.go`), but for the data of binary events, which it leaves out.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from pydapr.app.grpc import ALPHA_CALLBACK, CALLBACK
from pydapr.blocks.pubsub import bulk, spans, to_grpc
from pydapr.blocks.pubsub.bulk import DROP, SUCCESS, Bulk, Item, Outcome, Refused
from pydapr.blocks.pubsub.deliver import NotTaken, NotTakenByCode
from pydapr.errors import Code, RpcError
from pydapr.observe import logging
from pydapr.wire import topicbulk, topicevents

if TYPE_CHECKING:
    from pydapr.observe.tracing import Tracer

log = logging.get("dapr.runtime.processor.pubsub.subscription.grpc")

_TEXTS = ("id", "source", "type", "specversion", "datacontenttype")


class Callbacks(Protocol):
    """What is needed of an `app.grpc.GrpcApp`."""

    async def callback(
        self, name: bytes, message: bytes, metadata: Sequence[tuple[bytes, bytes]] = (), service: bytes = CALLBACK
    ) -> bytes:
        """The app's answer to a method of `service`. Raises `RpcError`."""


class BulkGrpcTarget:
    """The app `app`. `turns` bounds how many calls it gets at a time."""

    def __init__(
        self,
        app: Callbacks,
        tracer: "Tracer | None" = None,
        turns: "asyncio.Semaphore | contextlib.nullcontext[None] | None" = None,
    ) -> None:
        self._app = app
        self._tracer = tracer
        self._turns = turns if turns is not None else contextlib.nullcontext()

    async def deliver(self, sent: Bulk) -> Mapping[str, Outcome]:
        """A `bulk.BulkTarget`."""
        entries, out = [], dict[str, Outcome]()
        for item in sent.items:
            try:
                entries.append(_entry(item))
            except (NotTaken, topicbulk.Invalid, RecursionError) as error:
                out[item.entry.id] = Refused(str(error))
        message = topicbulk.request(sent.id, entries, sent.metadata, sent.topic, sent.pubsub, bulk.KIND, sent.path)
        metadata = [(b"pubsubname", sent.pubsub.encode("utf-8", "replace"))]
        begun: list[spans.DeliverySpan] = []
        if self._tracer is not None:
            trace, begun = spans.begin_all(self._tracer, [item.event for item in sent.items])
            if trace is not None and trace.is_known:
                metadata += trace.metadata()
        try:
            async with self._turns:
                answer = await self._call(message, metadata)
            found = topicbulk.statuses(answer)
        except RpcError as error:
            failure = error
        except topicbulk.Invalid as error:
            failure = RpcError(Code.INTERNAL, f"grpc: failed to unmarshal the received message: {error}")
        except asyncio.CancelledError:
            for span in begun:
                span.failed("context deadline exceeded")
                span.end()
            raise
        else:
            for span in begun:
                span.end()
            return {**_outcomes(sent, found), **out}
        for span in begun:
            span.failed(failure.message)
            span.end()
        return {**_failed(sent, failure), **out}

    async def _call(self, message: bytes, metadata: list[tuple[bytes, bytes]]) -> bytes:
        try:
            return await self._app.callback(b"OnBulkTopicEvent", message, metadata)
        except RpcError as error:
            if error.code != Code.UNIMPLEMENTED:
                raise
            log.warning(f"falling back to OnBulkTopicEventAlpha1 due to unimplemented error: {error}")
        return await self._app.callback(b"OnBulkTopicEventAlpha1", message, metadata, ALPHA_CALLBACK)


def _entry(item: Item) -> bytes:
    """An entry as the app gets it. Raises `NotTaken` and `Invalid`."""
    message, fields = item.entry.message, item.event.fields
    if item.is_raw:
        event = message.data
    else:
        texts = [value if isinstance(value := fields.get(name), str) else "" for name in _TEXTS]
        event = topicbulk.cloud_event(texts, to_grpc.data_of(fields, texts[-1]), to_grpc.extensions(fields))
    return topicbulk.entry(item.entry.id, event, item.is_raw, message.content_type, message.metadata)


def _outcomes(sent: Bulk, found: list[tuple[str, int]]) -> Mapping[str, Outcome]:
    known = {item.entry.id for item in sent.items}
    out: dict[str, Outcome] = {}
    for name, status in found:
        if name not in known:
            log.warning(f"Invalid entry id received from app while processing pub/sub event {name}")
        elif status == topicevents.SUCCESS:
            out[name] = SUCCESS
        elif status == topicevents.DROP:
            log.warning(f"DROP status returned from app while processing pub/sub event for entry id: {name}")
            out[name] = DROP
        elif status == topicevents.RETRY:
            out[name] = Refused(f"RETRY status returned from app while processing pub/sub event for entry id: {name}")
        else:
            out[name] = Refused(
                f"unknown status returned from app while processing pub/sub event  for entry id {name}: {status}"
            )
    return out


def _failed(sent: Bulk, error: RpcError) -> Mapping[str, Outcome]:
    """What a call without an answer means."""
    if error.code == Code.UNIMPLEMENTED:
        log.warning(f"non-retriable error returned from app while processing bulk pub/sub event: {error}")
        return {item.entry.id: bulk.IGNORED for item in sent.items}
    text = f"error returned from app while processing bulk pub/sub event: {error}"
    log.debug(text)
    raise NotTakenByCode(error.code, text, str(error))
