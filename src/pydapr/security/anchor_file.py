"""The file of trust anchors: waited for at the start, and followed for as long as the process runs.

Used by `daprd.identity` and `controlplane.identity`. It may be written by a sentry that starts at the same moment, be
replaced in any way, and be broken or gone meanwhile.
"""

import asyncio
from collections.abc import Callable

from pydapr.observe import logging
from pydapr.security import certificates, trust, watch

log = logging.get("dapr.runtime.security")

FILE_SECONDS = 0.5
"""How often a file that is not there yet is looked for."""


class AnchorFile:
    """The file at `path`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen = watch.state((path,))

    async def first(self) -> trust.Anchors:
        """The anchors in it, as soon as it is there. Raises `certificates.Invalid`, `OSError`."""
        is_told = False
        while True:
            try:
                self._seen = watch.state((self._path,))
                return self._read()
            except FileNotFoundError:
                if not is_told:
                    log.warning(f"Trust anchors file '{self._path}' not found, waiting...")
                    is_told = True
                await asyncio.sleep(FILE_SECONDS)

    async def follow(self, take: Callable[[trust.Anchors], None]) -> None:
        """Has `take` called with the anchors whenever they change, until cancelled."""
        while True:
            self._seen = await watch.changed((self._path,), self._seen, watch.LOOK_SECONDS)
            try:
                anchors = self._read()
            except (certificates.Invalid, OSError) as error:
                log.error(f"{error}: the trust anchors from before stay in force")
                continue
            log.info("Trust anchors have changed")
            try:
                take(anchors)
            except OSError as failed:
                log.error(f"The trust anchors come into force with the next certificate: {failed}")

    def _read(self) -> trust.Anchors:
        """Raises `OSError`, `certificates.Invalid`."""
        with open(self._path, "rb") as file:
            return trust.read(file.read())
