"""The sidecar: `daprd`. Reads its flags, then runs one `Runtime` until it is told to stop."""

import os
import sys


def main() -> None:
    """Entry point of the `daprd` command; ends with the original's exit codes."""
    from pydapr.daprd import start

    sys.exit(start.start(sys.argv[1:], os.environ))
