"""Delivers events to an app that speaks gRPC: a call of OnTopicEvent, and what its answer means.

Called by `deliver`; goes on to `app.grpc`. What an app gets, outcomes and the words of the log are the original's
(v1.18.3, `pkg/runtime/subscription/postman/grpc/grpc.go`, `pkg/runtime/pubsub/subscriptions.go`).
"""

import asyncio
import contextlib
import re
from base64 import b64decode
from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

import msgspec

from pydapr.app.channel import Header
from pydapr.app.grpc import GrpcApp, Turns
from pydapr.blocks.pubsub import spans
from pydapr.blocks.pubsub.deliver import DROP, RETRY, SUCCESS, NotTaken, NotTakenByCode, Undeliverable
from pydapr.blocks.pubsub.events import Event
from pydapr.blocks.pubsub.to_http import fields_of
from pydapr.errors import Code, RpcError
from pydapr.observe import logging
from pydapr.wire import topicevents

if TYPE_CHECKING:
    from pydapr.observe.metrics_ingress import IngressMetrics
    from pydapr.observe.tracing import Tracer

log = logging.get("dapr.runtime.processor.pubsub.subscription.grpc")

_ON_EVENT = b"OnTopicEvent"
_APART = frozenset({"id", "source", "datacontenttype", "type", "specversion", "data", "data_base64"})
"""Attributes that have fields of their own; the others are extensions."""

_PROCESSING = "error returned from app while processing pub/sub event"

_is_name = re.compile(rb"[0-9a-z_.-]+").fullmatch
_is_value = re.compile(rb"[\x20-\x7e]*").fullmatch
_encode = msgspec.json.Encoder(order="sorted").encode


class GrpcTarget:
    """The app `app`. `turns` bounds how many calls it gets at a time."""

    def __init__(
        self,
        app: GrpcApp,
        metrics: "IngressMetrics | None" = None,
        tracer: "Tracer | None" = None,
        turns: Turns | None = None,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._tracer = tracer
        self._turns = turns if turns is not None else contextlib.nullcontext()
        self._names: dict[str, bytes] = {}

    async def deliver(self, event: Event) -> bool:
        """A `deliver.Target`."""
        try:
            message = request(event)
        except (NotTaken, Undeliverable):
            self._count(event, RETRY, 0.0)
            raise
        metadata = [field for field in fields_of(event, self._names, self._tracer is None) if _can_be_said(field)]
        span = None
        if self._tracer is not None:
            trace, span = spans.begin(self._tracer, event)
            if trace is not None:
                metadata += trace.metadata()
        began = perf_counter()
        try:
            async with self._turns:
                began = perf_counter()
                answer = await self._app.callback(_ON_EVENT, message, metadata)
            status = topicevents.status(answer)
        except RpcError as error:
            failure = error
        except topicevents.Invalid as invalid:
            failure = RpcError(Code.INTERNAL, f"grpc: failed to unmarshal the received message: {invalid}")
        except asyncio.CancelledError:
            self._count(event, RETRY, perf_counter() - began)
            if span is not None:
                span.failed("context deadline exceeded")
                span.end()
            raise
        else:
            if span is not None:
                span.end()
            return self.said(event, status, perf_counter() - began)
        if span is not None:
            span.failed(failure.message)
            span.end()
        return self._failed(event, failure, perf_counter() - began)

    def said(self, event: Event, status: int, seconds: float) -> bool:
        """What a status of the app means."""
        if status == topicevents.SUCCESS:
            self._count(event, SUCCESS, seconds)
            return True
        if status == topicevents.DROP:
            log.warning(f"DROP status returned from app while processing pub/sub event {event.shown_id}")
            self._count(event, DROP, seconds, SUCCESS)
            return False
        self._count(event, RETRY, seconds)
        processing = f"returned from app while processing pub/sub event {event.shown_id}"
        if status == topicevents.RETRY:
            raise NotTaken(f"RETRY status {processing}: retriable error occurred")
        raise NotTaken(f"unknown status {processing}, status: {status}, err: retriable error occurred")

    def _failed(self, event: Event, error: RpcError, seconds: float) -> bool:
        if error.code == Code.UNIMPLEMENTED:
            log.warning(
                f"non-retriable error returned from app while processing pub/sub event {event.shown_id}: {error}"
            )
            self._count(event, DROP, seconds)
            return True
        text = f"{_PROCESSING} {event.shown_id}: retriable error occurred: {error}"
        log.debug(text)
        self._count(event, RETRY, seconds)
        raise NotTakenByCode(error.code, text, str(error))

    def _count(self, event: Event, process_status: str, seconds: float, status: str = "") -> None:
        if self._metrics is not None:
            self._metrics.event(event.pubsub, event.topic, process_status, seconds, status)


def _can_be_said(field: Header) -> bool:
    """Whether gRPC's metadata can have it."""
    return _is_value(field[1]) is not None and _is_name(field[0]) is not None and not field[0].startswith(b"grpc-")


def request(event: Event) -> bytes:
    """The `TopicEventRequest` of an event. Raises `NotTaken` and `Undeliverable` for an event that has none."""
    fields = event.fields
    kind = text_of(fields, "datacontenttype")
    try:
        return topicevents.event(
            (
                (topicevents.ID, text_of(fields, "id")),
                (topicevents.SOURCE, text_of(fields, "source")),
                (topicevents.TYPE, text_of(fields, "type")),
                (topicevents.SPEC_VERSION, text_of(fields, "specversion")),
                (topicevents.CONTENT_TYPE, kind),
                (topicevents.TOPIC, event.topic),
                (topicevents.PUBSUB, event.pubsub),
                (topicevents.PATH, event.path),
            ),
            data_of(fields, kind),
            extensions(fields),
        )
    except topicevents.Invalid as error:
        raise Undeliverable(f"error processing internal cloud event data: {error}") from None


def extensions(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of an event that have no field of their own."""
    return {name: value for name, value in fields.items() if name not in _APART}


def data_of(fields: Mapping[str, Any], kind: str) -> bytes:
    """The data of an event as an app that speaks gRPC gets them. Raises `NotTaken` when there is no way to say them."""
    encoded = fields.get("data_base64")
    if encoded is not None:
        if not isinstance(encoded, str):
            raise _unexpected("unexpected data type encountered in envelope")
        try:
            return b64decode(encoded.replace("\n", "").replace("\r", ""), validate=True)
        except ValueError as error:
            raise _unexpected(str(error)) from None
    data = fields.get("data")
    if data is None:
        return b""
    plain = kind.partition(";")[0].lower()
    if plain.startswith("text/") or plain == "application/xml":
        if isinstance(data, bytes):
            return data
        if isinstance(data, str):
            return data.encode("utf-8", "replace")
        raise _unexpected("unexpected data type encountered in envelope")
    if plain == "application/json" or plain == "application/cloudevents+json":
        return _encode(data)
    # As the original does it: data of a type that is neither text nor JSON are in `data_base64`, or not there.
    return data if isinstance(data, bytes) else b""


def _unexpected(reason: str) -> NotTaken:
    return NotTaken(
        f"error returned from app while processing pub/sub event: retriable error occurred: {reason}", reason
    )


def text_of(fields: Mapping[str, Any], name: str) -> str:
    """An attribute that is text; "" when it is not there, or something else."""
    value = fields.get(name)
    return value if isinstance(value, str) else ""
