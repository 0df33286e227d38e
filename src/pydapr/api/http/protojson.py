"""Bodies that are messages of gRPC in protobuf's form of JSON, as several of the original's APIs have them."""

import json
from typing import TYPE_CHECKING, TypeVar

from pydapr.api.http.errors import JSON
from pydapr.errors import BodyUnreadable, MalformedRequest
from pydapr.net.body import TooLarge
from pydapr.net.exchange import Exchange

if TYPE_CHECKING:
    from google.protobuf.message import Message

    M = TypeVar("M", bound=Message)


async def read(exchange: Exchange, message: "M", most: int) -> "M":
    """`message`, with what the body says of it: names in either case, unknown ones passed over, `most` bytes of it.

    Raises `DaprError`.
    """
    try:
        body = await exchange.body.read_all(most)
    except TooLarge as error:
        raise BodyUnreadable(str(error)) from None
    if not body:
        return message
    from google.protobuf import json_format

    try:
        document = json.loads(body)
        if not isinstance(document, dict):
            raise ValueError("a JSON object is wanted")
        return json_format.ParseDict(document, message, ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError, OverflowError, RecursionError) as error:
        raise MalformedRequest(f"failed deserializing HTTP body: {error}") from None


def respond(exchange: Exchange, message: "Message") -> None:
    """Answers with `message`; what is empty is left out."""
    from google.protobuf import json_format

    document = json_format.MessageToDict(message)
    exchange.respond(200, JSON, json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode())
