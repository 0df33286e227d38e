"""Notices that files have changed: by looking at them, because a folder may be a mount that tells nothing.

Used by sentry for the files of the authority and by `anchor_file` for trust anchors; a swapped link, as Kubernetes
makes it, is a change too.
"""

import asyncio
import os
from collections.abc import Sequence

LOOK_SECONDS = 0.5

State = tuple[tuple[int, int, int] | None, ...]


def state(paths: Sequence[str]) -> State:
    """What the files are now, as far as their entries show."""
    return tuple(_one(path) for path in paths)


def _one(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


async def changed(paths: Sequence[str], before: State, seconds: float = LOOK_SECONDS) -> State:
    """Waits until the files are others than `before` and stay so for a while; what they are then."""
    last = before
    while True:
        await asyncio.sleep(seconds)
        now = state(paths)
        if now == last and now != before:
            return now
        last = now
