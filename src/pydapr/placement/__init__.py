"""Placement: `dapr-placement`. Tells sidecars which of them host which types of actors, until it is told to stop."""

import os
import sys

from pydapr import controlplane


def main() -> None:
    """Entry point of the `dapr-placement` command; ends with the original's exit codes."""
    controlplane.let_signals_wait()
    from pydapr.placement import start

    sys.exit(start.start(sys.argv[1:], os.environ))
