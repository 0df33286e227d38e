"""Streams and their namespace, with sidecars that read when a test lets them."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pydapr.errors import Code, RpcError
from pydapr.net.body import Disconnected
from pydapr.placement import rounds
from pydapr.placement.namespaces import MOST_ORDERS, Namespaces, Sidecar


class Line:
    """A stream that takes frames while it is open."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.opened = asyncio.Event()
        self.is_lost = False

    async def send_frame(self, frame: bytes) -> None:
        await self.opened.wait()
        if self.is_lost:
            raise Disconnected("gone")
        self.sent.append(frame)


async def sidecar(
    line: Any, with_gzip: bool = False, may_speak: Callable[[], bool] = lambda: True
) -> tuple[Sidecar, asyncio.Task[None]]:
    """A sidecar and the task that reads it, which ends when it is ended."""
    made: list[Sidecar] = []

    async def read() -> None:
        made.append(Sidecar(line, "here", with_gzip, may_speak))
        await asyncio.Event().wait()

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    return made[0], task


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_orders_go_out_one_behind_the_other() -> None:
    line = Line()
    one, task = await sidecar(line)
    for number in range(5):
        one.post(b"%d" % number)
    await settled()
    assert line.sent == []
    line.opened.set()
    await settled()
    one.post(b"5")
    await settled()
    assert line.sent == [b"%d" % number for number in range(6)]
    task.cancel()


async def test_what_waits_is_not_sent_by_who_may_not_speak_any_more() -> None:
    line, may_speak = Line(), True
    one, task = await sidecar(line, may_speak=lambda: may_speak)
    one.post(b"0")
    one.post(b"1")
    await settled()
    may_speak = False
    line.opened.set()
    await settled()
    assert line.sent == [b"0"]  # that was on its way
    task.cancel()


async def test_a_sidecar_that_takes_no_orders_is_ended() -> None:
    one, task = await sidecar(Line())
    for _ in range(MOST_ORDERS + 2):
        one.post(b"x")
        await asyncio.sleep(0)
    assert one.ended is not None and one.ended.code == Code.RESOURCE_EXHAUSTED
    with pytest.raises(asyncio.CancelledError):
        await task
    one.close()


async def test_a_line_that_is_lost_harms_nobody() -> None:
    line = Line()
    line.is_lost = True
    line.opened.set()
    one, task = await sidecar(line)
    one.post(b"x")
    await settled()
    one.post(b"y")
    await settled()
    assert line.sent == [] and not task.done()
    task.cancel()


async def test_nothing_is_ordered_by_who_may_not_speak() -> None:
    may_speak = True
    namespaces = Namespaces(lambda: may_speak, 8.0, 0.0, 100)
    line = Line()
    line.opened.set()
    one, task = await sidecar(line)
    number = namespaces.of("ns").join(one, rounds.Host("a", "a", ("Cat",)))
    await settled()
    assert len(line.sent) == 1
    may_speak = False
    namespaces.of("ns").report(number, rounds.LOCK, 1, rounds.Host("", "a"))
    await settled()
    assert len(line.sent) == 1
    one.end(RpcError(Code.FAILED_PRECONDITION, "not a leader"))
    with pytest.raises(asyncio.CancelledError):
        await task
    namespaces.leave("ns", number)
    assert namespaces.tables() == {} == namespaces.counts()


async def test_who_does_not_acknowledge_is_ended_in_time() -> None:
    namespaces = Namespaces(lambda: True, 0.05, 0.0, 100)
    line = Line()
    one, task = await sidecar(line)
    number = namespaces.of("ns").join(one, rounds.Host("a", "a", ("Cat",)))
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    assert one.ended is not None
    assert (one.ended.code, one.ended.message) == (
        Code.DEADLINE_EXCEEDED,
        "dissemination timeout after 50ms for version 1",
    )
    namespaces.leave("ns", number)
    one.close()


async def test_the_table_is_made_once_for_all_who_come_later() -> None:
    namespaces = Namespaces(lambda: True, 8.0, 0.0, 100)
    lines = [Line() for _ in range(3)]
    for line in lines:
        line.opened.set()
    host, host_task = await sidecar(lines[0])
    number = namespaces.of("ns").join(host, rounds.Host("a", "a", ("Cat",)))
    for operation in (rounds.LOCK, rounds.UPDATE, rounds.UNLOCK):
        namespaces.of("ns").report(number, operation, 1, rounds.Host("", "a"))
    tasks = [host_task]
    for line in lines[1:]:
        one, task = await sidecar(line)
        tasks.append(task)
        namespaces.of("ns").join(one, rounds.Host("b", "b"))
    await settled()
    assert lines[0].sent == lines[1].sent == lines[2].sent
    assert lines[0].sent[1] is lines[1].sent[1] is lines[2].sent[1]
    for task in tasks:
        task.cancel()
