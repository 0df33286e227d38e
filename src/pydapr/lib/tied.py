"""A child process that does not outlive who has started it.

Used by what starts processes: `cli.launch`, `scheduler.etcd_process`.
"""

import os
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def dying_with_us(number: int) -> Callable[[], None]:
    """What a child calls before it becomes its program, so that the kernel sends it the signal when we have died. Linux
    only. The kernel watches the thread that forks: that has to be one that stays."""
    if sys.platform != "linux":
        return lambda: None
    import ctypes

    prctl = ctypes.CDLL(None).prctl  # found here: between fork and exec nothing may be loaded
    parent = os.getpid()

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return tie
