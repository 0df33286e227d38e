"""A line for each call of the HTTP API."""

import asyncio
import json
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from tests.unit.components.middleware.conftest import Asked

from pydapr.api.http import calllog
from pydapr.api.http.calllog import CallLog
from pydapr.daprd import faces
from pydapr.net.exchange import Exchange
from pydapr.observe import logging


async def test_calls_that_the_client_gave_up_are_logged_too(tmp_path: Path) -> None:
    file = tmp_path / "log"
    logging.configure(level="error", as_json=True, file=str(file))

    async def inner(exchange: Exchange) -> None:
        await asyncio.Event().wait()

    try:
        calls = CallLog(inner, lambda exchange: None, False, False, iter((1.0, 1.25)).__next__)
        task = asyncio.ensure_future(calls(Asked(b"/v1.0/invoke/app/method/m")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        logging.configure()

    (line,) = [json.loads(text) for text in file.read_text().splitlines()]
    assert (line["method"], line["code"], line["duration"]) == ("GET /v1.0/invoke/app/method/m", 0, 250)


@pytest.mark.parametrize(
    ("route", "target", "name"),
    [
        ((b"PUT", b"/v1.0/actors/*/*/method/*"), b"/v1.0/actors/Cat/c%201/method/m?x=1", "InvokeActor/Cat.c 1"),
        ((b"POST", b"/v1.0/actors/*/*/state"), b"/v1.0/actors/Cat/1/state", "ExecuteActorStateTransaction"),
    ],
)
async def test_calls_of_actors_have_names_where_urls_are_hidden(
    tmp_path: Path, route: tuple[bytes, bytes], target: bytes, name: str
) -> None:
    file = tmp_path / "log"
    logging.configure(level="error", as_json=True, file=str(file))

    async def inner(exchange: Exchange) -> None:
        exchange.respond(200, ())

    try:
        await CallLog(inner, lambda exchange: route, True, False)(Asked(target))
    finally:
        logging.configure()
    (line,) = [json.loads(text) for text in file.read_text().splitlines()]
    assert line["method"] == name


@pytest.mark.plain  # compiled classes take no mock for a number
def test_each_route_has_a_name_where_urls_are_hidden() -> None:
    routes = set(faces._routes(MagicMock(), lambda force: None))
    assert len(routes) > 60
    assert {route: calllog.NAMES[route] for route in routes if not calllog.NAMES.get(route)} == {}
