"""One run at a time chooses its app id and ports, so that two of them cannot choose the same.

The lock is held for the few milliseconds until the sidecar's process exists and can be seen by the next run.
The system lets go of it when the holder dies. Used by `run.py`.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

_PATIENCE = 5.0
"""Seconds after which a run goes on without the lock: starting matters more than this precaution."""


@contextmanager
def held(path: str | None = None) -> Iterator[None]:
    """Hold the lock of this user."""
    import fcntl

    where = path or os.path.join(os.environ.get("TMPDIR", "/tmp"), f"pydapr-run-{os.getuid()}.lock")
    try:
        fd = os.open(where, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        yield
        return
    try:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(0.01)
        yield
    finally:
        os.close(fd)
