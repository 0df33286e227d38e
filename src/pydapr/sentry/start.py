"""From a command line to a running authority and its exit code.

Called by `sentry.main`; goes on to `sentry.runtime`.
"""

import asyncio
from collections.abc import Mapping, Sequence

from pydapr import DAPR_VERSION, __version__
from pydapr.controlplane import process
from pydapr.lib import pflag
from pydapr.observe import logging
from pydapr.sentry import flags

log = logging.get("dapr.sentry")

_BEGINS = f"Starting Dapr Sentry certificate authority -- version {DAPR_VERSION} -- commit pydapr-{__version__}"


def start(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Runs sentry with these arguments; the process' exit code."""
    try:
        settings = flags.parse(argv, environ)
    except (pflag.UsageError, flags.Invalid) as error:
        return process.refuse(error, log)

    async def serve(stop: asyncio.Event) -> None:
        try:
            from pydapr.sentry import runtime

            await runtime.Sentry(settings, environ).run(stop)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("pydapr"):
                raise
            text = f"the library {error.name} is missing: pip install pydapr[jwt] brings all that sentry uses"
            raise process.Fatal(text) from None

    return process.run(settings, log, _BEGINS, "Sentry shut down gracefully", serve)
