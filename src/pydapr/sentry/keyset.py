"""Public keys of others, for the validator `jwks`: from a URL, a file, or the text of the option itself.

Keys from a URL are fetched at the start and again when they are older than the interval: beside the requests, or at
once when a token names a key that is not known. A file is looked at before each token. When keys cannot be had anew,
those that are there stay in force.
"""

import asyncio
import base64
import binascii
import json
import os
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

from joserfc import jwk
from joserfc.errors import JoseError

from pydapr.lib import durations
from pydapr.net import client_tls, dial, http, pool
from pydapr.observe import logging
from pydapr.security import pem

log = logging.get("dapr.sentry.identity.jwks")

REFRESH_SECONDS = 600.0
REQUEST_SECONDS = 30.0

_ALGORITHMS: Mapping[str, tuple[str, ...]] = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "P-521": ("ES512",),
    "Ed25519": ("EdDSA", "Ed25519"),
}


class Unusable(ValueError):
    """Keys cannot be had; the text says why."""


class Key:
    """One public key and what it may have signed with."""

    __slots__ = ("algorithms", "material")

    def __init__(self, material: Any, algorithms: tuple[str, ...]) -> None:
        self.material, self.algorithms = material, algorithms


class Options:
    """What the Configuration says about the validator. Raises `Unusable`."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self.source = given.get("source", "")
        self.ca = given.get("cacertificate", "")
        interval, seconds = _seconds(given, "minRefreshInterval"), _seconds(given, "requestTimeout")
        self.refresh_seconds = interval if interval > 1.0 else REFRESH_SECONDS
        self.request_seconds = seconds if seconds > 0.001 else REQUEST_SECONDS
        if not self.source:
            raise Unusable("failed to init cache: property 'location' must not be empty")


def _seconds(given: Mapping[str, str], name: str) -> float:
    text = given.get(name.lower(), "")
    if not text:
        return 0.0
    if text.lstrip("-").isdecimal():
        return float(text)
    try:
        return durations.parse(text)
    except ValueError as error:
        raise Unusable(f"failed to decode validator options: {name}: {error}") from None


class KeySet:
    """The keys now, by id. `open` before the first question."""

    def __init__(self, options: Options, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._clock = clock
        self._keys: dict[str, Key] = {}
        self._is_remote = options.source.startswith(("https://", "http://"))
        self._file = ""
        self._seen: tuple[int, int, int] | None = None
        self._fetched = 0.0
        self._fetching: asyncio.Task[None] | None = None
        self._tls: ssl.SSLContext | None = None

    async def open(self) -> None:
        """Raises `Unusable`."""
        options = self._options
        if self._is_remote:
            if options.source.startswith("http://"):
                log.warning(
                    "Loading JWK from an HTTP endpoint without TLS: this is not recommended on production environments."
                )
            self._tls = _context(options.ca)
            await self._fetch()
        else:
            self._open_local(options.source)

    def _open_local(self, source: str) -> None:
        if os.path.isfile(source):
            self._file = source
            self._seen = _entry(source)
            self._keys = _read_file(source)
        else:
            self._keys = _from_option(source)

    def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()

    async def get(self, key_id: str) -> Key | None:
        """The key with this id."""
        if self._is_remote:
            if self._clock() - self._fetched > self._options.refresh_seconds:
                fetching = self._refresh()
                if key_id not in self._keys:
                    await asyncio.shield(fetching)
        elif self._file:
            self._look()
        return self._keys.get(key_id)

    def _look(self) -> None:
        """Reads the file again if it is another than before."""
        now = _entry(self._file)
        if now == self._seen:
            return
        self._seen = now
        try:
            self._keys = _read_file(self._file)
            log.debug("Reloading JWKS file from disk")
        except Unusable as error:
            log.error(f"Error reading JWKS from disk: {error}")

    def _refresh(self) -> "asyncio.Task[None]":
        """Fetches the keys anew; only once at a time."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch_or_say())
        return self._fetching

    async def _fetch_or_say(self) -> None:
        try:
            await self._fetch()
        except Unusable as error:
            log.warning(f"Error while refreshing JWKS cache: {error}")

    async def _fetch(self) -> None:
        try:
            answer = await http.request(
                "GET", self._options.source, seconds=self._options.request_seconds, connect=self._dial
            )
            if answer.status != 200:
                raise Unusable(f"request returned status {answer.status}, expected 200")
            self._keys = parse(answer.body)
        except (OSError, ValueError) as error:
            raise Unusable(f"failed to fetch JWKS: {error}") from None
        finally:
            self._fetched = self._clock()

    def _dial(self, host: str, port: int, with_tls: bool) -> pool.Connector:
        return dial.to(host, port, with_tls, context=self._tls)


def _context(ca: str) -> ssl.SSLContext | None:
    """Rules of TLS with these certificates as the only roots; None for those of the system."""
    if not ca:
        return None
    text = ca
    if not pem.blocks(ca.encode()):
        try:
            with open(ca, encoding="utf-8") as file:
                text = file.read()
        except (OSError, ValueError) as error:
            raise Unusable(
                "failed to load CA certificate: value is neither a valid file path or nor a valid PEM-encoded "
                f"string: {error}"
            ) from None
    try:
        return client_tls.context(text, "", "")
    except ValueError as error:
        raise Unusable(f"failed to add root certificate to certificate pool: {error}") from None


def _entry(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _read_file(path: str) -> dict[str, Key]:
    try:
        with open(path, "rb") as file:
            return parse(file.read())
    except OSError as error:
        raise Unusable(f"failed to read JWKS file: open {path}: {(error.strerror or '').lower()}") from None
    except Unusable as error:
        raise Unusable(f"failed to parse JWKS file: {error}") from None


def _from_option(text: str) -> dict[str, Key]:
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        content = text.encode()
    try:
        return parse(content)
    except Unusable:
        raise Unusable(
            "failed to parse property 'location': not a URL, path to local file, or JSON value (optionally "
            "base64-encoded)"
        ) from None


def parse(content: bytes) -> dict[str, Key]:
    """The keys of a JWK set, or a single one, that check signatures. Raises `Unusable`."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"failed to unmarshal JWK set: {error}") from None
    if not isinstance(document, dict):
        raise Unusable("failed to unmarshal JWK set: it is no JSON object")
    entries = document.get("keys", [document] if "kty" in document else None)
    if not isinstance(entries, list):
        raise Unusable("failed to unmarshal JWK set: it has no keys")
    return dict(found for entry in entries if (found := _key(entry)) is not None)


def _key(entry: Any) -> tuple[str, Key] | None:
    """A key by its id; None for one that has none, or that cannot check signatures of others."""
    if not isinstance(entry, dict) or not entry.get("kid") or entry.get("use", "sig") != "sig":
        return None
    algorithms = _ALGORITHMS.get(str(entry.get("crv") or entry.get("kty")), ())
    if entry.get("alg"):
        algorithms = tuple(name for name in algorithms if name == entry["alg"])
    if not algorithms:
        return None
    try:
        return str(entry["kid"]), Key(jwk.import_key(entry), algorithms)
    except (JoseError, ValueError, KeyError, TypeError):
        return None
