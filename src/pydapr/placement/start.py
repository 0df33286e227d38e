"""From a command line to a running placement and its exit code.

Called by `placement.main`; goes on to `placement.runtime`.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence

from pydapr import DAPR_VERSION, __version__
from pydapr.controlplane import process
from pydapr.lib import pflag
from pydapr.observe import logging
from pydapr.placement import flags

log = logging.get("dapr.placement")

_BEGINS = f"Starting Dapr Placement Service -- version {DAPR_VERSION} -- commit pydapr-{__version__}"


def start(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Runs placement with these arguments; the process' exit code."""
    try:
        settings = flags.parse(argv, environ)
    except (pflag.UsageError, flags.Invalid) as error:
        return process.refuse(error, log)
    sys.stderr.write(settings.warnings)

    async def serve(stop: asyncio.Event) -> None:
        from pydapr.placement import runtime

        await runtime.Placement(settings, environ).run(stop)

    return process.run(settings, log, _BEGINS, "Placement service shut down gracefully", serve)
