"""The end of tasks: whoever starts one waits for it. Used by components and whoever keeps work beside requests.

A server cancels the task that answers a request when the client has gone, unless that task has something to finish:
`told_instead` says who hears of it then.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

told_instead: "dict[asyncio.Task[Any], Callable[[], None]]" = {}
"""Kept by the tasks themselves, for as long as they must go on."""


def abandon(task: "asyncio.Task[Any]") -> None:
    """Nobody waits any more for what `task` does."""
    told = told_instead.get(task)
    if told is None:
        task.cancel()
    else:
        told()


async def stop(tasks: Iterable["asyncio.Task[Any] | None"]) -> None:
    """Cancels `tasks` and waits until they have ended, however they do. None stands for one that never began."""
    begun = [task for task in tasks if task is not None]
    for task in begun:
        task.cancel()
    if begun:
        await asyncio.wait(begun)
