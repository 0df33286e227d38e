"""Work that may block, such as reading a file from a slow disk or a pipe, in a thread that nobody waits for at the end.

Used by components when they open. The threads of asyncio's own pool are waited for before the process may end: one that
reads what never comes would hold a sidecar that has long given up.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def run(work: Callable[..., T], *given: object) -> T:
    """What `work` returns or raises. When this is cancelled, the work goes on, and nobody looks at its result."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: Exception | None) -> None:
        if result.done():
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(value)  # type: ignore[arg-type]  # None only if `work` returns it

    def work_aside() -> None:
        value, failure = None, None
        try:
            value = work(*given)
        except Exception as error:  # whatever it is, it belongs to who waits
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is about to end
            loop.call_soon_threadsafe(settle, value, failure)

    threading.Thread(target=work_aside, name="component", daemon=True).start()
    return await result
