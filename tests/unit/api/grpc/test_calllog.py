"""A line for each call of the gRPC API."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pydapr.api.grpc import calllog
from pydapr.errors import Code, RpcError
from pydapr.net.http2_server import ServerExchange
from pydapr.observe import logging

Lines = Callable[[], list[dict[str, Any]]]
CLOCK = [1.0, 1.25]


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Lines]:
    """What is logged, without what stands in every line; the level in force is higher than that of the lines."""
    file = tmp_path / "log"
    logging.configure(level="error", as_json=True, file=str(file))

    def read() -> list[dict[str, Any]]:
        every = {"time", "instance", "type", "ver", "app_id"}
        found = [json.loads(line) for line in file.read_text().splitlines()]
        return [{key: value for key, value in line.items() if key not in every} for line in found]

    yield read
    logging.configure()


def exchange(*headers: tuple[bytes, bytes]) -> ServerExchange:
    return cast(ServerExchange, SimpleNamespace(headers=headers, target=b"/my.Service/Method"))


def line(code: int, **more: str) -> dict[str, Any]:
    fixed = {"level": "info", "msg": "gRPC API Called", "scope": "dapr.runtime.grpc.api-info"}
    return {**fixed, "method": "/my.Service/Method", "code": code, "duration": 250, **more}


@pytest.mark.parametrize(("answered", "code"), [(None, 0), (Code.OK, 0), (Code.ABORTED, 10), (77, 77)])
async def test_calls_are_logged_with_the_status_they_ended_with(lines: Lines, answered: int | None, code: int) -> None:
    async def method(exchange: ServerExchange) -> int | None:
        return answered

    handle = calllog.logged(method, iter(CLOCK).__next__)

    assert await handle(exchange((b"user-agent", b"me/1"), (b"user-agent", b"other"))) == answered
    assert lines() == [line(code, useragent="me/1")]


async def test_errors_are_logged_and_go_on(lines: Lines) -> None:
    async def method(exchange: ServerExchange) -> int | None:
        raise RpcError(Code.NOT_FOUND, "none")

    with pytest.raises(RpcError, match="none"):
        await calllog.logged(method, iter(CLOCK).__next__)(exchange())
    assert lines() == [line(Code.NOT_FOUND)]


async def test_calls_that_the_client_gave_up_are_cancelled(lines: Lines) -> None:
    async def method(exchange: ServerExchange) -> int | None:
        await asyncio.Event().wait()
        return None

    task = asyncio.ensure_future(calllog.logged(method, iter(CLOCK).__next__)(exchange()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert lines() == [line(Code.CANCELLED)]
