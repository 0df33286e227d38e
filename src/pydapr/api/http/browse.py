"""A look into topics over HTTP, and publishing again what is in them.

Called by the router; asks `blocks.pubsub.browse`.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qs

from pydapr.api.http import errors
from pydapr.blocks.pubsub.browse import MOST_SHOWN, Browser
from pydapr.components.pubsub import Browsed
from pydapr.errors import MalformedRequest
from pydapr.lib import urls
from pydapr.net.body import TooLarge
from pydapr.net.exchange import Exchange

PREFIX = b"/v1.0-alpha1/publish/"

DEFAULT_SHOWN = 100


class BrowseApi:
    """Answers GET and POST of `/v1.0-alpha1/publish/<pubsub>/<topic>`."""

    def __init__(self, browser: Browser, max_body: int) -> None:
        self._browser = browser
        self._max_body = max_body

    async def get(self, exchange: Exchange) -> None:
        """A page of messages."""
        name, topic = _place(exchange.target)
        query = _query(exchange.target)
        found, after = await self._browser.browse(
            name, topic, query.get("after", ""), _limit(query.get("limit")), urls.metadata(exchange.target)
        )
        exchange.respond(200, errors.JSON, errors.encode({"messages": [_shown(one) for one in found], "after": after}))

    async def replay(self, exchange: Exchange) -> None:
        """Publishes messages again; tells which were, and why others were not."""
        name, topic = _place(exchange.target)
        try:
            body = await exchange.body.read_all(self._max_body)
        except TooLarge:
            raise MalformedRequest("http: request body too large") from None
        to, ids, after = _wanted(body)
        done = await self._browser.replay(name, topic, to, ids, after, urls.metadata(exchange.target))
        told = {"replayed": list(done.done), "failed": dict(done.failed), "after": done.after}
        exchange.respond(200, errors.JSON, errors.encode(told))


def _place(target: bytes) -> tuple[str, str]:
    name, *topic = urls.whole(urls.segments(target, PREFIX))
    return name, "/".join(topic)


def _query(target: bytes) -> Mapping[str, str]:
    query = target.partition(b"?")[2].decode("latin-1")
    return {name: values[0] for name, values in parse_qs(query, keep_blank_values=True, errors="replace").items()}


def _limit(text: str | None) -> int:
    if not text:
        return DEFAULT_SHOWN
    if not text.isdecimal() or not 0 < int(text[:9]) <= MOST_SHOWN:
        raise MalformedRequest(f"limit must be a number from 1 to {MOST_SHOWN}")
    return int(text)


def _wanted(body: bytes) -> tuple[str, frozenset[str] | None, str]:
    """The topic to publish to, the ids of messages (None for all), and after which message to begin."""
    if not body.strip():
        return "", None, ""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest(f"invalid JSON: {error}") from None
    if not isinstance(document, dict):
        raise MalformedRequest("the body must be an object")
    to, ids, after = document.get("to") or "", document.get("ids"), document.get("after") or ""
    if not isinstance(to, str) or not isinstance(after, str):
        raise MalformedRequest("to and after must be strings")
    if ids is not None and not (isinstance(ids, list) and all(isinstance(one, str) for one in ids)):
        raise MalformedRequest("ids must be an array of strings")
    return to, None if ids is None else frozenset(ids), after


def _shown(one: Browsed) -> dict[str, object]:
    """A message as a document: JSON as it is, anything else in base 64."""
    message = one.message
    out: dict[str, object] = {"id": one.id, "topic": message.topic}
    if one.time is not None:
        out["time"] = datetime.fromtimestamp(one.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if message.content_type:
        out["contentType"] = message.content_type
    if message.metadata:
        out["metadata"] = dict(message.metadata)
    try:
        out["event"] = _document(message.data)
    except (ValueError, RecursionError):
        out["data_base64"] = b64encode(message.data).decode()
    return out


def _document(data: bytes) -> object:
    """What can be shown as it is. Raises `ValueError` for all else, such as NaN, and half a pair of surrogates."""
    document: object = json.loads(data)
    json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    return document
