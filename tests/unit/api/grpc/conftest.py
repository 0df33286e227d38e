"""The gRPC API on a free port of the loopback, and a grpcio client of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from pydapr.net.exchange import Handler
from pydapr.net.server import Options, Server

Metadata = tuple[tuple[str, str | bytes], ...]


class Client:
    """Calls the API that `serve` has started; errors come as code and text."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self.port = 0

    async def serve(self, handler: Handler) -> None:
        self._server = Server(handler, Options(with_http1=False))
        self.port = await self._server.listen("127.0.0.1", 0)

    async def ask(self, what: Callable[[Any], Any]) -> Any:
        """The result of `what(channel)`, which blocks."""

        def run() -> Any:
            with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
                return what(channel)

        return await asyncio.wait_for(asyncio.to_thread(run), 20)

    async def unary(self, method: str, data: bytes = b"", metadata: Metadata = (), deadline: float = 10) -> bytes:
        return bytes(
            await self.ask(lambda channel: channel.unary_unary(method)(data, metadata=metadata, timeout=deadline))
        )

    async def error(
        self, method: str, data: bytes = b"", metadata: Metadata = (), deadline: float = 10
    ) -> tuple[str, str]:
        """Code and text of the error that a unary call ends with."""
        with pytest.raises(grpc.RpcError) as failed:
            await self.unary(method, data, metadata, deadline)
        return failed.value.code().name, failed.value.details()

    async def close(self) -> None:
        if self._server is not None:
            await self._server.stop(0)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    made = Client()
    yield made
    await made.close()
