"""The sidecar: `daprd`. Reads its flags, then runs one `Runtime` until it is told to stop."""

import gc
import os
import signal
import sys


def main() -> None:
    """Entry point of the `daprd` command; ends with the original's exit codes."""
    if sys.platform != "win32":
        # It would end the process as long as there is nobody to handle it (`observe.level`).
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR1,))
    gc.disable()  # until the runtime is made: a start makes no garbage, and looking for it takes a tenth of its time
    from pydapr.daprd import start

    sys.exit(start.start(sys.argv[1:], os.environ))
