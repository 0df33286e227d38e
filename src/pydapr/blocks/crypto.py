"""Encryption and decryption of documents for the app, with keys that a provider has.

Called by the faces, which bring a document in pieces and take it back in pieces; goes on to `components.crypto` for
the key of the document, and to `security.envelope` for its form. Rules and words are the original's (v1.18.3,
`pkg/api/universal/crypto.go`, and dapr/kit, `schemes/enc/v1`).
"""

from collections.abc import AsyncIterator, Mapping

from pydapr.components.crypto import CryptoError, CryptoProvider
from pydapr.errors import (
    BadRequest,
    CryptoBroken,
    CryptoFailed,
    CryptoProviderNotFound,
    CryptoProvidersNotConfigured,
)
from pydapr.lib.record import Record
from pydapr.policy import operations, resiliency
from pydapr.security import envelope

Pieces = AsyncIterator[bytes]


class SourceFailed(Exception):
    """The document that is to be worked on did not come to its end; the message says why. Raised by the faces."""


class Wanted(Record):
    """How a document is to be encrypted."""

    key_name: str
    algorithm: str
    cipher: str = ""
    decryption_key_name: str = ""
    """The name that stands in the document, in place of `key_name`."""
    omits_key_name: bool = False


class Crypto:
    """The providers by name."""

    def __init__(
        self,
        providers: Mapping[str, CryptoProvider],
        ciphers: envelope.Ciphers,
        policies: resiliency.Resiliency | None = None,
    ) -> None:
        self._providers = providers
        self._ciphers = ciphers
        self.operations = operations.Operations(resiliency.CRYPTO, CryptoError, policies)

    def check(self, name: str) -> None:
        """Raises `DaprError` when there is no provider of this name."""
        self._provider(name)

    async def encrypt(self, name: str, wanted: Wanted, source: Pieces) -> Pieces:
        """The encrypted document: header, then segment by segment. Raises `DaprError`, now and while it is read."""
        provider = self._provider(name)
        try:
            algorithm, cipher = envelope.algorithm(wanted.algorithm), envelope.cipher(wanted.cipher)
            file_key, prefix = envelope.new_key()
            wrapped = await self.operations.run(
                name, "crypto_op", lambda: provider.wrap(file_key, algorithm, wanted.key_name)
            )
            named = "" if wanted.omits_key_name else wanted.decryption_key_name or wanted.key_name
            header = envelope.Header(named, algorithm, wrapped, cipher, prefix)
            return _sealed(
                envelope.write_header(header, file_key), envelope.Sealer(file_key, header, self._ciphers), source
            )
        except operations.Failed as error:
            raise CryptoFailed(f"failed to wrap the file key: {provider.scrub(str(error))}") from None
        except envelope.Invalid as error:
            raise CryptoFailed(str(error)) from None

    async def decrypt(self, name: str, key_name: str, source: Pieces) -> Pieces:
        """The decrypted document, segment by segment. Raises `DaprError`, now and while it is read."""
        provider = self._provider(name)
        reader = envelope.HeaderReader()
        try:
            async for piece in source:
                if reader.feed(piece):
                    break
        except SourceFailed:
            pass  # then the header is not whole either, which is what the original tells
        try:
            header = reader.header()
            key_name = key_name or header.key_name
            if not key_name:
                raise CryptoFailed("document's manifest does not contain a key name, and no key name was provided")
            file_key = await self._file_key(name, provider, header, key_name)
            envelope.verify(header, file_key)
        except envelope.Invalid as error:
            raise CryptoFailed(str(error)) from None
        return _worked(envelope.Opener(file_key, header, self._ciphers), reader.rest, source)

    async def _file_key(self, name: str, provider: CryptoProvider, header: envelope.Header, key_name: str) -> bytes:
        """The key of a document; of one that cannot be had none that fits, so that nothing is told of keys."""
        try:
            found = await self.operations.run(
                name, "crypto_op", lambda: provider.unwrap(header.wrapped, header.algorithm, key_name)
            )
        except operations.Failed:
            return bytes(envelope.FILE_KEY)
        return found if len(found) == envelope.FILE_KEY else bytes(envelope.FILE_KEY)

    def _provider(self, name: str) -> CryptoProvider:
        if not self._providers:
            raise CryptoProvidersNotConfigured
        if not name:
            raise BadRequest("missing component name")
        found = self._providers.get(name)
        if found is None:
            raise CryptoProviderNotFound(name)
        return found


async def _sealed(header: bytes, sealer: envelope.Sealer, source: Pieces) -> Pieces:
    yield header
    async for piece in _worked(sealer, b"", source):
        yield piece


async def _worked(segments: envelope.Sealer | envelope.Opener, first: bytes, source: Pieces) -> Pieces:
    try:
        for done in segments.feed(first) if first else ():
            yield done
        async for piece in source:
            for done in segments.feed(piece):
                yield done
        for done in segments.finish():
            yield done
    except (SourceFailed, envelope.Invalid) as error:
        raise CryptoBroken(str(error)) from None
