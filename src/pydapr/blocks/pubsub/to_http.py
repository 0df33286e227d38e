"""Delivers events to an app that speaks HTTP: a POST of the CloudEvent to the route, and what the answer means.

Called by `deliver`; goes on to `app`. Header fields, outcomes and the words of the log are the original's (v1.18.3,
`pkg/runtime/subscription/postman/http/http.go`).
"""

import asyncio
import json
import posixpath
import re
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from pydapr.app.channel import Answer, AppChannel, AppUnreachable, Call, Header
from pydapr.blocks.pubsub import spans
from pydapr.blocks.pubsub.deliver import DROP, RETRY, SUCCESS, NotTaken, NotTakenByCode, Undeliverable
from pydapr.blocks.pubsub.events import TRACE_PARENT, TRACE_STATE, Event
from pydapr.errors import RpcError
from pydapr.net.body import Body, BodyError, TooLarge
from pydapr.observe import logging
from pydapr.wire import headers as names

if TYPE_CHECKING:
    from pydapr.observe.metrics_ingress import IngressMetrics
    from pydapr.observe.tracing import Tracer

log = logging.get("dapr.runtime.processor.pubsub.subscription.http")

UNREACHED = (AppUnreachable, RpcError, BodyError)

LARGEST_ANSWER = 1 << 20
"""Bytes of an answer that are looked at: more is no status."""

_CONTENT_TYPE = (b"content-type", b"application/cloudevents+json")
_NOT_SENT = frozenset({b"content-type", b"content-length", b"destination-app-id", b"host", b"dapr-api-token"})
_is_name = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}\Z").match
_TRACE = ((b"traceparent", TRACE_PARENT), (b"tracestate", TRACE_STATE))
_PATHS = 1000


class HttpTarget:
    """The app behind `channel`, which may be another one at another time, or None."""

    def __init__(
        self,
        channel: Callable[[], AppChannel | None],
        metrics: "IngressMetrics | None" = None,
        tracer: "Tracer | None" = None,
    ) -> None:
        self._channel = channel
        self._metrics = metrics
        self._tracer = tracer
        self._paths: dict[str, tuple[str, bytes]] = {}
        self._names: dict[str, bytes] = {}

    async def deliver(self, event: Event) -> bool:
        """A `deliver.Target`."""
        channel = self._channel()
        if channel is None:
            raise Undeliverable("app channel is not initialized")
        method, query = self._paths.get(event.path) or self._path(event.path)
        call = Call(b"POST", method, query, self._headers(event), Body.of(event.body), is_clean=True)
        span = None
        if self._tracer is not None:
            call.trace, span = spans.begin(self._tracer, event)
            call.says_trace = False
        began = perf_counter()
        try:
            answer = await channel.invoke(call)
            body = await _read(answer)
        except UNREACHED as error:
            self._count(event, RETRY, perf_counter() - began)
            if span is not None:
                span.failed(str(error))
                span.end()
            inner = f"retriable error occurred: {error}"
            text = f"error returned from app channel while sending pub/sub event to app: {inner}"
            raise NotTaken(text, str(error)) from None
        except asyncio.CancelledError:
            self._count(event, RETRY, perf_counter() - began)
            if span is not None:
                span.failed("context deadline exceeded")
                span.end()
            raise
        seconds = perf_counter() - began
        if span is not None:
            spans.answered(span, answer.status)
        if 200 <= answer.status < 300:
            if not body:
                self._count(event, SUCCESS, seconds)
                return True
            return self._said(event, _status(body), seconds)
        return self._refused(event, answer.status, body.decode("utf-8", "replace"), seconds)

    def _said(self, event: Event, status: str, seconds: float) -> bool:
        """What an answer with a status of the app's own means."""
        if status in ("", "SUCCESS"):
            self._count(event, SUCCESS, seconds)
            return True
        if status == "DROP":
            self._count(event, DROP, seconds, SUCCESS)
            log.warning(f"DROP status returned from app while processing pub/sub event {event.shown_id}")
            return False
        self._count(event, RETRY, seconds)
        processing = f"returned from app while processing pub/sub event {event.shown_id}"
        if status == "RETRY":
            raise NotTaken(f"RETRY status {processing}: retriable error occurred")
        raise NotTaken(f"unknown status {processing}, status: {status}, err: retriable error occurred")

    def _refused(self, event: Event, status: int, body: str, seconds: float) -> bool:
        """What an answer without success means."""
        if status == 404:
            log.error(
                f"non-retriable error returned from app while processing pub/sub event {event.shown_id}: {body}. "
                f"status code returned: {status}"
            )
            self._count(event, DROP, seconds)
            return False
        told = _topic(event.fields)
        text = (
            f"retriable error returned from app while processing pub/sub event {event.shown_id}, topic: {told}, "
            f"body: {body}. status code returned: {status}"
        )
        log.warning(text)
        self._count(event, RETRY, seconds)
        raise NotTakenByCode(status, f"retriable error occurred: {text}", text)

    def _count(self, event: Event, process_status: str, seconds: float, status: str = "") -> None:
        if self._metrics is not None:
            self._metrics.event(event.pubsub, event.topic, process_status, seconds, status)

    def _headers(self, event: Event) -> list[Header]:
        """What is known of the message, as header fields where it can be."""
        return [_CONTENT_TYPE, *fields_of(event, self._names, self._tracer is None)]

    def _path(self, path: str) -> tuple[str, bytes]:
        found = split(path)
        if len(self._paths) < _PATHS:
            self._paths[path] = found
        return found


def split(path: str) -> tuple[str, bytes]:
    """The method and the query that a route is."""
    plain, _, query = path.partition("?")
    plain = posixpath.normpath(unquote(plain).lstrip("/")) if plain else ""
    return ("" if plain == "." else plain), query.encode("utf-8", "replace")


def fields_of(event: Event, known: dict[str, bytes], with_trace: bool) -> list[Header]:
    """The message's metadata, and its broker, as header fields. `known` remembers names.

    What they say of a trace is left out, unless `with_trace`: then nobody else says it.
    """
    out = []
    metadata: Mapping[str, str] = event.message.metadata
    if metadata:
        for name, value in metadata.items():
            field = known.get(name)
            if field is None:
                field = _field(name)
                if len(known) < 1000:
                    known[name] = field
            if field:
                text = value.encode("utf-8", "replace")
                if names.is_clean(text):
                    out.append((field, text.strip()))
        if with_trace and TRACE_PARENT in metadata:
            out += [(name, metadata[key].encode("ascii", "replace")) for name, key in _TRACE if _is_said(metadata, key)]
    out.append((b"pubsubname", event.pubsub.encode("utf-8", "replace")))
    return out


def _is_said(metadata: Mapping[str, str], name: str) -> bool:
    value = metadata.get(name, "")
    return value != "" and value.isprintable()


def _field(name: str) -> bytes:
    """The header field for an entry of metadata, b"" when there can be none."""
    field = name.lower().encode("utf-8", "replace")
    if not _is_name(name) or field in _NOT_SENT or field in names.HOP_BY_HOP or field in names.VOLATILE:
        return b""
    return b"" if field.endswith(b"-bin") or field == b"pubsubname" else field


async def _read(answer: Answer) -> bytes:
    try:
        return await answer.body.read_all(LARGEST_ANSWER)
    except TooLarge:
        return b""
    finally:
        answer.close()


_decode = msgspec.json.Decoder().decode


def _status(body: bytes) -> str:
    """The `status` in the first value of JSON that an answer has; "" when it has none, or is no JSON."""
    try:
        value = _decode(body)
    except (msgspec.DecodeError, RecursionError):
        value = _first(body)
    if not isinstance(value, dict):
        return ""
    status = value.get("status")
    if status is None:
        status = next((inner for name, inner in value.items() if name.lower() == "status"), "")
    return status if isinstance(status, str) else ""


def _first(body: bytes) -> Any:
    """A reader of Go stops behind the first value."""
    try:
        return json.JSONDecoder().raw_decode(body.decode("utf-8", "replace").lstrip())[0]
    except (ValueError, RecursionError):
        return None


def _topic(fields: Mapping[str, Any]) -> str:
    from pydapr.blocks.pubsub import events

    return events.shown(fields.get("topic"))
