"""The scheduler: `dapr-scheduler`. Keeps jobs and reminders, and has sidecars told when one is due."""

import os
import sys

from pydapr import controlplane


def main() -> None:
    """Entry point of the `dapr-scheduler` command; ends with the original's exit codes."""
    controlplane.let_signals_wait()
    from pydapr.scheduler import start

    sys.exit(start.start(sys.argv[1:], os.environ))
