"""Messages that wait until they are due, and events that were delivered: made over one file of the app.

Called by `daprd.runtime` where there are brokers. Nothing is opened before something is kept.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydapr.blocks.pubsub import Broker
from pydapr.blocks.pubsub.later import Later
from pydapr.components.drivers import ledger
from pydapr.daprd import home

if TYPE_CHECKING:
    from pydapr.blocks.pubsub.seen import Seen
    from pydapr.daprd import flags

FOLDER = "messages"
"""In the Dapr home."""


class Kept:
    """What the sidecar keeps of messages."""

    def __init__(self, file: Path, brokers: Mapping[str, Broker]) -> None:
        self._ledger = ledger.Ledger(file)
        self.later = Later(self._ledger, brokers, ledger.Failed)

    def seen(self) -> "Seen":
        """What was delivered: for those who deliver."""
        from pydapr.blocks.pubsub.seen import Seen

        return Seen(self._ledger, ledger.Failed)

    async def close(self) -> None:
        await self.later.end()
        await self._ledger.close()


def kept(settings: "flags.Settings", environ: Mapping[str, str], brokers: Mapping[str, Broker]) -> Kept:
    """Over the file of the app: all sidecars of it that share a Dapr home share that."""
    return Kept(Path(home.folder(environ), FOLDER, file_name(settings.identity_namespace, settings.app_id)), brokers)


def file_name(namespace: str, app_id: str) -> str:
    """A name of a file for an app, whatever its id is made of."""
    whole = f"{namespace}.{app_id}"
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", whole)[:80]
    if plain == whole:
        return f"{plain}.db"
    import hashlib

    return f"{plain}-{hashlib.sha256(whole.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}.db"
