"""crypto.dapr.jwks has the keys in a JSON Web Key Set: in the metadata itself, in a file, or at a URL.

A key's name is its `kid`. A file that changes is read again when a key is asked for, a URL after each
`minRefreshInterval`; while the new set cannot be had, the old one serves.
"""

import asyncio
import base64
import os
import threading
from collections.abc import Mapping

from pydapr.components import Seconds, Wrong, component, option, options
from pydapr.components.crypto import KeyNotFound
from pydapr.components.drivers import jwk, thread
from pydapr.components.drivers.localkeys import LocalKeys
from pydapr.net import http
from pydapr.observe import logging
from pydapr.security import watch

log = logging.get("dapr.contrib")

MAX_BYTES = 1024 * 1024


@options
class Options:
    jwks: str = option("The set: JSON, perhaps in base64; or the path of a file; or a URL.")
    request_timeout: Seconds = option("How long the URL may take to answer.", default=Seconds(30))
    min_refresh_interval: Seconds = option("How often the URL is asked again.", default=Seconds(600))


@component("crypto.dapr.jwks", Options)
class Jwks(LocalKeys):
    def __init__(self, options: Options) -> None:
        self._given = options.jwks
        self._timeout = options.request_timeout if options.request_timeout >= 0.001 else 30.0
        self._interval = options.min_refresh_interval if options.min_refresh_interval >= 1 else 600.0
        self._keys: Mapping[str, jwk.Key] = {}
        self._file = ""
        self._state: watch.State = ()
        self._reading = threading.Lock()
        self._refreshing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        if self._given.startswith(("https://", "http://")):
            if self._given.startswith("http://"):
                log.warning("Loading a JWKS without TLS: whoever is between can change the keys")
            self._keys = await self._fetched()
            self._refreshing = asyncio.create_task(self._refresh())
            return
        if "\0" not in self._given and await thread.run(os.path.isfile, self._given):
            self._file = self._given
            self._state = watch.state((self._file,))
            self._keys = await thread.run(_read, self._file)
            return
        try:
            self._keys = jwk.parse_set(_decoded(self._given))
        except jwk.Unusable:
            raise Wrong("metadata property jwks is no URL, no path of a file and no JWKS (perhaps in base64)") from None

    async def close(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait((self._refreshing,))
            self._refreshing = None

    def key(self, name: str) -> jwk.Key:
        if self._file:
            self._read_again()
        found = self._keys.get(name)
        if found is None:
            raise KeyNotFound
        return found

    def _read_again(self) -> None:
        """Reads a file that has changed; one that is just being written counts once it can be read."""
        with self._reading:
            now = watch.state((self._file,))
            if now == self._state:
                return
            try:
                self._keys = _read(self._file)
            except (OSError, jwk.Unusable) as error:
                log.error(f"Error reading JWKS from disk: {error}")
                return
            self._state = now

    async def _fetched(self) -> Mapping[str, jwk.Key]:
        answer = await http.request("GET", self._given, seconds=self._timeout, most=MAX_BYTES)
        if answer.status != 200:
            raise OSError(f"failed to fetch JWKS: the server answered with status {answer.status}")
        try:
            return jwk.parse_set(answer.body)
        except jwk.Unusable as error:
            raise OSError(f"failed to fetch JWKS: {error}") from None

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                self._keys = await self._fetched()
            except (OSError, ValueError) as error:
                log.warning(f"Error while refreshing JWKS cache: {self.scrub(str(error))}")


def _read(path: str) -> Mapping[str, jwk.Key]:
    with open(path, "rb") as file:
        return jwk.parse_set(file.read(MAX_BYTES))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except ValueError:
        return text.encode()
