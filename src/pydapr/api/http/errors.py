"""Errors as the HTTP API answers them: a status and a small JSON object. Called by the router and the faces."""

import json

from pydapr.errors import DaprError
from pydapr.net.exchange import Exchange

JSON = ((b"content-type", b"application/json"),)


def respond(exchange: Exchange, error: DaprError) -> None:
    """Answers with `error`; breaks the answer off instead if it has begun."""
    if exchange.is_begun:
        exchange.abort()
        return
    body = json.dumps({"errorCode": error.code, "message": error.message}, ensure_ascii=False, separators=(",", ":"))
    exchange.respond(error.status, JSON, body.encode("utf-8", "replace"))
