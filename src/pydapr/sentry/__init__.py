"""The certificate authority: `dapr-sentry`. Reads its flags, then serves certificates until it is told to stop."""

import os
import sys

from pydapr import controlplane


def main() -> None:
    """Entry point of the `dapr-sentry` command; ends with the original's exit codes."""
    controlplane.let_signals_wait()
    from pydapr.sentry import start

    sys.exit(start.start(sys.argv[1:], os.environ))
