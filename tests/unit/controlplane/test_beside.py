"""Servers and tasks of a control-plane process: readiness, failure and the end in reverse order."""

import asyncio
import contextlib
import socket

import pytest

from pydapr.controlplane.beside import Beside
from pydapr.controlplane.process import Fatal
from pydapr.net.exchange import Exchange
from pydapr.observe import logging

log = logging.get("test")


async def get(port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1])


def taken() -> socket.socket:
    """A socket that listens at a port of its own."""
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    made.listen()
    return made


async def test_health_waits_for_every_part_that_has_named_itself() -> None:
    async with contextlib.AsyncExitStack() as stack:
        beside = Beside(stack, log)
        beside.health.add("healthz-server")
        beside.health.add("slow")
        with taken() as probe:
            port = probe.getsockname()[1]
        await beside.serve_health("127.0.0.1", port)
        assert await get(port, "/healthz") == 503
        assert await get(port, "/other") == 404
        beside.health.ready("slow")
        assert await get(port, "/healthz") == 200
        assert await get(port, "/healthz?x=1") == 200
    with pytest.raises(ConnectionRefusedError):
        await get(port, "/healthz")


async def test_a_port_that_is_taken_says_which() -> None:
    async def answer(exchange: Exchange) -> None:
        exchange.respond(200, ())

    async with contextlib.AsyncExitStack() as stack:
        with taken() as other:
            port = other.getsockname()[1]
            with pytest.raises(Fatal, match=rf"could not listen on port {port}: .*address already in use"):
                await Beside(stack, log).listen(answer, "127.0.0.1", port)


async def test_the_first_failure_ends_the_process() -> None:
    async def breaks(reason: str) -> None:
        raise Fatal(reason)

    async with contextlib.AsyncExitStack() as stack:
        beside = Beside(stack, log)
        beside.run(breaks("first"))
        with pytest.raises(Fatal, match="first"):
            await beside.until(asyncio.Event())
        beside.fail(Fatal("second"))
        with pytest.raises(Fatal, match="first"):
            await beside.until(asyncio.Event())


async def test_tasks_end_with_the_stack_in_reverse_order() -> None:
    ended: list[str] = []
    begun = asyncio.Event()

    async def lasts(name: str) -> None:
        try:
            if name == "late":
                begun.set()
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async with contextlib.AsyncExitStack() as stack:
        beside = Beside(stack, log)
        beside.run(lasts("early"))
        beside.run(lasts("late"))
        await begun.wait()
        stop = asyncio.Event()
        stop.set()
        await beside.until(stop)
    assert ended == ["late", "early"]


async def test_without_a_port_there_are_no_metrics() -> None:
    from pydapr.observe import metrics

    async with contextlib.AsyncExitStack() as stack:
        beside = Beside(stack, log)
        beside.health.add("other")
        await beside.serve_metrics(metrics.Registry(), "127.0.0.1", 0)
        assert beside.health.missing == {"other"}
