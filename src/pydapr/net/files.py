"""How many files this process may have open, of which each connection is one.

Used at the start of each process, and by `server`, so that no crowd at one port takes the files that all others need.
"""

import contextlib
import sys

_ENDLESS = 1 << 30


def allow() -> None:
    """As many as the system lets this process have, as Go's runtime does."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            with contextlib.suppress(ValueError, OSError):  # "unlimited" is more than some systems give
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def allowed() -> int:
    """How many there may be."""
    if sys.platform == "win32":
        return _ENDLESS
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _ENDLESS if soft == resource.RLIM_INFINITY else soft
