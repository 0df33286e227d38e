"""The end of tasks: whoever starts one waits for it. Used by components and whoever keeps work beside requests."""

import asyncio
from collections.abc import Iterable
from typing import Any


async def stop(tasks: Iterable["asyncio.Task[Any] | None"]) -> None:
    """Cancels `tasks` and waits until they have ended, however they do. None stands for one that never began."""
    begun = [task for task in tasks if task is not None]
    for task in begun:
        task.cancel()
    if begun:
        await asyncio.wait(begun)
