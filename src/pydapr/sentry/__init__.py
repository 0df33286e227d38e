"""The certificate authority: `dapr-sentry`. Reads its flags, then serves certificates until it is told to stop."""

import os
import signal
import sys


def main() -> None:
    """Entry point of the `dapr-sentry` command; ends with the original's exit codes."""
    # A signal that comes before there is somebody to handle it waits until then (`start`).
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1))
    from pydapr.sentry import start

    sys.exit(start.start(sys.argv[1:], os.environ))
