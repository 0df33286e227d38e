"""Waiting for the app."""

import asyncio
from unittest.mock import Mock

import pytest
from tests.integration import harness

from pydapr.daprd import presence


async def test_an_app_that_does_not_listen_is_told_of_until_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    told, port = asyncio.Event(), harness.free_port()
    log = Mock()
    log.info.side_effect = lambda _: told.set()
    monkeypatch.setattr(presence, "TELL_SECONDS", 0.05)
    monkeypatch.setattr(presence, "log", log)
    waiting = asyncio.create_task(presence.until_it_listens("127.0.0.1", port))
    async with asyncio.timeout(10):
        await told.wait()
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
        await waiting
        server.close()
    log.info.assert_called_with(f"waiting for application to listen on port {port}")
