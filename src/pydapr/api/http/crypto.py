"""The cryptography API over HTTP. Called by the router; asks `blocks.crypto`.

An answer begins when the document is done: only then is it certain that it is not an error (v1.18.3,
`pkg/api/http/crypto.go`).
"""

from collections.abc import Mapping

from pydapr.blocks.crypto import Crypto, Pieces, SourceFailed, Wanted
from pydapr.errors import BadRequest, Unimplemented
from pydapr.lib import truth, urls
from pydapr.net.body import BodyError, TooLarge
from pydapr.net.exchange import Exchange

PREFIX, SUBTLE_PREFIX = b"/v1.0-alpha1/crypto/", b"/v1.0-alpha1/subtlecrypto/"
SUBTLE = (b"getkey", b"encrypt", b"decrypt", b"wrapkey", b"unwrapkey", b"sign", b"verify")

_BYTES = ((b"content-type", b"application/octet-stream"),)


class CryptoApi:
    """Answers PUT of `/v1.0-alpha1/crypto/<provider>/encrypt` and `decrypt`."""

    def __init__(self, crypto: Crypto, max_body: int) -> None:
        self._crypto = crypto
        self._max_body = max_body

    async def encrypt(self, exchange: Exchange) -> None:
        name = _name(exchange)
        self._crypto.check(name)
        fields = exchange.fields
        wanted = Wanted(
            _required(_field(fields, "dapr-key-name"), "dapr-key-name"),
            _required(_field(fields, "dapr-key-wrap-algorithm"), "dapr-key-wrap-algorithm"),
            _field(fields, "dapr-data-encryption-cipher"),
            _field(fields, "dapr-decryption-key-name"),
            truth.is_true(_field(fields, "dapr-omit-decryption-key-name")),
        )
        pieces = await self._crypto.encrypt(name, wanted, _source(exchange, self._max_body))
        exchange.respond(200, _BYTES, b"".join([piece async for piece in pieces]))

    async def decrypt(self, exchange: Exchange) -> None:
        key_name = _field(exchange.fields, "dapr-key-name")
        pieces = await self._crypto.decrypt(_name(exchange), key_name, _source(exchange, self._max_body))
        exchange.respond(200, _BYTES, b"".join([piece async for piece in pieces]))


async def subtle(exchange: Exchange) -> None:
    """Answers all of the subtle API, which the original's releases are built without."""
    raise Unimplemented


def _name(exchange: Exchange) -> str:
    return urls.segments(exchange.target, PREFIX)[0]


def _field(fields: Mapping[bytes, bytes], name: str) -> str:
    return fields.get(name.encode(), b"").decode("utf-8", "replace")


def _required(value: str, name: str) -> str:
    if not value:
        raise BadRequest(f"missing header '{name}'")
    return value


async def _source(exchange: Exchange, most: int) -> Pieces:
    size = 0
    try:
        while piece := await exchange.body.read():
            size += len(piece)
            if 0 < most < size:
                raise SourceFailed(str(TooLarge()))
            yield piece
    except BodyError as error:
        raise SourceFailed(str(error)) from None
