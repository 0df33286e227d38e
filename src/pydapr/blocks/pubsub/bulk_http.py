"""Delivers many events at once to an app that speaks HTTP: a POST of an envelope around them, and its answer.

Called by `bulk`; goes on to `app`. The envelope, outcomes and the words of the log are the original's (v1.18.3,
`pkg/runtime/subscription/postman/http/http.go`).
"""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from pydapr.app.channel import AppChannel, Call
from pydapr.blocks.pubsub import bulk, events, spans, to_http
from pydapr.blocks.pubsub.bulk import DROP, RETRY, SUCCESS, Bulk, Item, Outcome, Refused
from pydapr.blocks.pubsub.deliver import NotTaken, NotTakenByCode, Undeliverable
from pydapr.net.body import Body
from pydapr.observe import logging

if TYPE_CHECKING:
    from pydapr.observe.tracing import Tracer

log = logging.get("dapr.runtime.processor.pubsub.subscription.http")

LARGEST_ANSWER = 4 << 20
"""Bytes of an answer: a status takes about a hundred."""

CLOUD_EVENT = "application/cloudevents+json"

_FIELDS = ((b"content-type", b"application/json"),)

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class BulkHttpTarget:
    """The app behind `channel`, which may be another one at another time, or None."""

    def __init__(self, channel: Callable[[], AppChannel | None], tracer: "Tracer | None" = None) -> None:
        self._channel = channel
        self._tracer = tracer

    async def deliver(self, sent: Bulk) -> Mapping[str, Outcome]:
        """A `bulk.BulkTarget`."""
        channel = self._channel()
        if channel is None:
            raise Undeliverable("app channel is not initialized")
        method, query = to_http.split(sent.path)
        headers = (*_FIELDS, (b"pubsubname", sent.pubsub.encode("utf-8", "replace")))
        call = Call(b"POST", method, query, headers, Body.of(envelope(sent)), is_clean=True)
        begun: list[spans.DeliverySpan] = []
        if self._tracer is not None:
            call.trace, begun = spans.begin_all(self._tracer, [item.event for item in sent.items])
            call.says_trace = False
        try:
            answer = await channel.invoke(call)
            try:
                body = await answer.body.read_all(LARGEST_ANSWER)
            finally:
                answer.close()
        except to_http.UNREACHED as error:
            for span in begun:
                span.failed(str(error))
                span.end()
            raise NotTaken(f"error from app channel while sending pub/sub event to app: {error}", str(error)) from None
        except asyncio.CancelledError:
            for span in begun:
                span.failed("context deadline exceeded")
                span.end()
            raise
        for span in begun:
            spans.answered(span, answer.status)
        if 200 <= answer.status < 300:
            return said(sent, body)
        return _refused(sent, answer.status)


def _refused(sent: Bulk, status: int) -> Mapping[str, Outcome]:
    """What an answer without success means."""
    if status == 404:
        log.error(
            f"Non-retriable error returned from app while processing bulk pub/sub event. status code returned: {status}"
        )
        return {item.entry.id: bulk.IGNORED for item in sent.items}
    text = (
        f"Retriable error returned from app while processing bulk pub/sub event, topic: {sent.topic}. "
        f"status code returned: {status}"
    )
    log.warning(text)
    raise NotTakenByCode(status, text, text)


def envelope(sent: Bulk) -> bytes:
    """The document that the app gets. Events stand in it as they came."""
    return _encode(
        {
            "entries": [_entry(item) for item in sent.items],
            "id": sent.id,
            "metadata": sent.metadata,
            "pubsubname": sent.pubsub,
            "topic": sent.topic,
            "type": bulk.KIND,
        }
    )


def _entry(item: Item) -> dict[str, Any]:
    message = item.entry.message
    event: Any
    if item.is_raw:
        event, kind = b64encode(message.data).decode(), message.content_type or events.BINARY
    else:
        event, kind = _event(item.event), message.content_type or CLOUD_EVENT
    return {"entryId": item.entry.id, "event": event, "metadata": message.metadata, "contentType": kind}


def _event(event: events.Event) -> Any:
    """The bytes that came if they are the event in JSON, and its attributes else."""
    fields = event.fields
    data = fields.get("data")
    if isinstance(data, bytes):
        return {**{name: value for name, value in fields.items() if name != "data"}, "data_base64": data}
    try:
        event.body.decode()
    except UnicodeDecodeError:  # `events.read` has replaced what is no text
        return fields
    return msgspec.Raw(event.body)


def said(sent: Bulk, body: bytes) -> Mapping[str, Outcome]:
    """What an answer with success says of each entry. Raises `NotTaken` when it says nothing."""
    try:
        listed = _look_up(_decode(body), "statuses") or []
        found = [(str(_look_up(one, "entryid") or ""), _look_up(one, "status") or "") for one in listed]
    except (msgspec.MsgspecError, RecursionError, TypeError, AttributeError) as error:
        raise NotTaken(f"failed unmarshalling app response for bulk subscribe: {error}", str(error)) from None
    return outcomes({item.entry.id for item in sent.items}, found)


def _look_up(given: Mapping[str, Any], wanted: str) -> Any:
    """A value by its name in any case, as Go reads JSON."""
    return next((value for name, value in given.items() if name.lower() == wanted), None)


def outcomes(known: Collection[str], found: Iterable[tuple[str, Any]]) -> Mapping[str, Outcome]:
    """What statuses in words mean, of the entries that are `known`."""
    out: dict[str, Outcome] = {}
    for name, status in found:
        if name not in known:
            log.warning(f"Invalid entry id received from app while processing pub/sub event {name}")
        elif status == SUCCESS:
            out[name] = SUCCESS
        elif status == DROP:
            log.warning(f"DROP status returned from app while processing pub/sub event {name}")
            out[name] = DROP
        elif status in ("", RETRY):
            out[name] = Refused(f"RETRY required while processing bulk subscribe event for entry id: {name}")
        else:
            out[name] = Refused(
                f"unknown status returned from app while processing bulk subscribe event {name}: {status}"
            )
    return out
