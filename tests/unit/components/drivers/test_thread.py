"""Work in a thread of its own."""

import asyncio
import threading

import pytest

from pydapr.components.drivers import thread


async def test_result_and_failure_come_back() -> None:
    assert await thread.run(divmod, 7, 2) == (3, 1)
    assert await thread.run({"a": 1}.get, "b") is None
    with pytest.raises(ZeroDivisionError):
        await thread.run(divmod, 7, 0)


async def test_work_that_never_ends_can_be_left_alone() -> None:
    forever = threading.Event()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await thread.run(forever.wait)

    left = [one for one in threading.enumerate() if one.name == "component"]
    assert left and all(one.daemon for one in left)
    forever.set()
    for one in left:
        one.join(10)
