"""The cryptography API over gRPC. Called by the router; asks `blocks.crypto`.

The first message has the options, each has a piece of the document, and so have those of the answer (v1.18.3,
`pkg/api/grpc/crypto.go`).
"""

import asyncio
from typing import Any

from pydapr.api.grpc import unary
from pydapr.blocks.crypto import Crypto, Pieces, SourceFailed, Wanted
from pydapr.errors import BadRequest, CryptoFailed, RpcError, Unimplemented
from pydapr.net.grpc_stream import Stream
from pydapr.net.http2_server import ServerExchange

FIRST_SECONDS = 5.0
"""How long the first message may take."""

SUBTLE = (
    "SubtleGetKeyAlpha1", "SubtleEncryptAlpha1", "SubtleDecryptAlpha1", "SubtleWrapKeyAlpha1",
    "SubtleUnwrapKeyAlpha1", "SubtleSignAlpha1", "SubtleVerifyAlpha1",
)  # fmt: skip


class CryptoApi:
    """Answers EncryptAlpha1 and DecryptAlpha1."""

    def __init__(self, crypto: Crypto) -> None:
        self._crypto = crypto

    async def encrypt(self, stream: Stream) -> None:
        from pydapr.proto.dapr.proto.runtime.v1 import crypto_pb2

        first = await _first(stream, crypto_pb2.EncryptRequest)
        options = first.options
        for value, name in ((options.key_name, "keyName"), (options.key_wrap_algorithm, "keyWrapAlgorithm")):
            if not value:
                raise BadRequest(f"missing property '{name}' in the options message")
        wanted = Wanted(
            options.key_name,
            options.key_wrap_algorithm,
            options.data_encryption_cipher,
            options.decryption_key_name,
            options.omit_decryption_key_name,
        )
        pieces = await self._crypto.encrypt(options.component_name, wanted, _source(stream, first))
        await _pass_on(pieces, stream, crypto_pb2.EncryptResponse)

    async def decrypt(self, stream: Stream) -> None:
        from pydapr.proto.dapr.proto.runtime.v1 import crypto_pb2

        first = await _first(stream, crypto_pb2.DecryptRequest)
        options = first.options
        pieces = await self._crypto.decrypt(options.component_name, options.key_name, _source(stream, first))
        await _pass_on(pieces, stream, crypto_pb2.DecryptResponse)


async def subtle(exchange: ServerExchange, data: bytes) -> bytes:
    """Answers all of the subtle API, which the original's releases are built without."""
    raise Unimplemented


async def _first(stream: Stream, kind: type[Any]) -> Any:
    """The message with the options. Raises `DaprError`."""
    before = "error receiving the first message"
    try:
        async with asyncio.timeout(FIRST_SECONDS):
            data = await stream.next()
    except TimeoutError:
        raise BadRequest("error waiting for first message: context deadline exceeded") from None
    except RpcError as error:
        raise CryptoFailed(f"{before}: {error}") from None
    if data is None:
        raise CryptoFailed(f"{before}: EOF")
    first = unary.decode(kind, data)
    if not first.HasField("options"):
        raise BadRequest("first message does not contain the required options")
    return first


async def _source(stream: Stream, first: Any) -> Pieces:
    """The pieces of the document, which count from 0."""
    kind, message, expected = type(first), first, 0
    while True:
        if message.HasField("payload"):
            if message.payload.seq != expected:
                got = message.payload.seq
                raise SourceFailed(f"invalid sequence number received: {got} (expected: {expected})")
            expected += 1
            if message.payload.data:
                yield message.payload.data
        try:
            data = await stream.next()
            if data is None:
                return
            message = unary.decode(kind, data)
        except RpcError as error:
            raise SourceFailed(f"error receiving message: {error}") from None
        if message.HasField("options"):
            raise SourceFailed("options found in non-leading message")


async def _pass_on(pieces: Pieces, stream: Stream, kind: type[Any]) -> None:
    number = 0
    async for piece in pieces:
        answer = kind()
        answer.payload.data, answer.payload.seq = piece, number
        await stream.send(answer.SerializeToString())
        number += 1
