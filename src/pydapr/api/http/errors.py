"""Errors as the HTTP API answers them: a status and a small JSON object. Called by the router and the faces."""

import json
from collections.abc import Callable, Iterator

from pydapr.errors import DaprError, Details
from pydapr.net.exchange import Exchange

_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}

Respond = Callable[[Exchange, DaprError], None]
"""Answers an exchange with an error; `respond`, or what stands in its place."""

JSON = ((b"content-type", b"application/json"),)


def respond(exchange: Exchange, error: DaprError) -> None:
    """Answers with `error`; breaks the answer off instead if it has begun."""
    if exchange.is_begun:
        exchange.abort()
        return
    document: dict[str, object] = {"errorCode": error.code, "message": error.message}
    if error.details is not None:
        document["details"] = list(_details(error.details))
    exchange.respond(error.status, (*JSON, *error.fields) if error.fields else JSON, encode(document))


def _details(details: Details) -> Iterator[dict[str, object]]:
    type_ = "type.googleapis.com/google.rpc."
    if details.violations:
        violations = [{"field": field, "description": text} for field, text in details.violations]
        yield {"@type": f"{type_}BadRequest", "field_violations": violations}
    if details.links:
        yield {"@type": f"{type_}Help", "links": [{"description": text, "url": url} for text, url in details.links]}
    if details.resource is not None:
        kind, name = details.resource
        yield {
            "@type": f"{type_}ResourceInfo", "description": details.description, "owner": "", "resource_name": name,
            "resource_type": kind,
        }  # fmt: skip
    yield {
        "@type": f"{type_}ErrorInfo", "domain": details.domain, "metadata": details.metadata, "reason": details.reason,
    }  # fmt: skip


def encode(value: object) -> bytes:
    """`value` as JSON in the form of Go's encoder, which writes what means something to HTML as escapes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPES).encode("utf-8", "replace")
