"""From a command line to a running scheduler and its exit code.

Called by `scheduler.main`; goes on to `scheduler.runtime`.
"""

import asyncio
from collections.abc import Mapping, Sequence

from pydapr import DAPR_VERSION, __version__
from pydapr.controlplane import process
from pydapr.lib import pflag
from pydapr.observe import logging
from pydapr.scheduler import flags

log = logging.get("dapr.scheduler")

_BEGINS = f"Starting Dapr Scheduler Service -- version {DAPR_VERSION} -- commit pydapr-{__version__}"


def start(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Runs a scheduler with these arguments; the process' exit code."""
    try:
        settings = flags.parse(argv, environ)
    except (pflag.UsageError, flags.Invalid) as error:
        return process.refuse(error, log)

    async def serve(stop: asyncio.Event) -> None:
        from pydapr.scheduler import runtime

        await runtime.Scheduler(settings, environ).run(stop)

    return process.run(settings, log, _BEGINS, "Scheduler service shut down gracefully", serve)
