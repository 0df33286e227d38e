"""Errors as the HTTP API answers them: a status and a small JSON object. Called by the router and the faces."""

import json
from collections.abc import Callable

from pydapr.errors import DaprError
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
    exchange.respond(error.status, JSON, encode({"errorCode": error.code, "message": error.message}))


def encode(value: object) -> bytes:
    """`value` as JSON in the form of Go's encoder, which writes what means something to HTML as escapes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPES).encode("utf-8", "replace")
