"""The channel to an app that speaks HTTP/2 in clear text by prior knowledge (`--app-protocol h2c`).

Called by `blocks.invoke`; what is said is what `app.http` says, over streams of a few connections.
"""

import asyncio
from collections.abc import Sequence

from pydapr.app import http
from pydapr.net import http2_client, http2_pool
from pydapr.net.body import Body, BodyError
from pydapr.net.http2_client import Refused
from pydapr.net.pool import Connector, Unreachable
from pydapr.wire import http2
from pydapr.wire.headers import HOP_BY_HOP
from pydapr.wire.hpack import Header

_DIAL = "dial tcp "


class H2cChannel(http.HttpChannel):
    """Sends calls to one server; the arguments are those of `HttpChannel`."""

    def __init__(
        self, connect: Connector, base: str, host: str, prefix: bytes = b"", token: str = "", at_a_time: int = 0
    ) -> None:
        super().__init__(connect, base, host, prefix, token)
        self._pool: http.Requests = _Streams(connect, host, at_a_time)


class _Response:
    """The head of a response and the body behind it."""

    __slots__ = ("_request", "_sender", "body", "headers", "status")

    def __init__(
        self,
        request: http2_client.Request,
        sender: "asyncio.Task[None] | None",
        status: int,
        headers: list[Header],
    ) -> None:
        self._request = request
        self._sender = sender
        self.status = status
        self.headers = headers
        self.body: Body = request.body

    def close(self) -> None:
        """Gives the request up if the response is not complete."""
        if self._sender is not None:
            self._sender.cancel()
        self._request.close()


class _Streams:
    """Requests to one server, in the shape of `net.pool.Pool`."""

    def __init__(self, connect: Connector, host: str, at_a_time: int) -> None:
        self._pool = http2_pool.Pool(lambda _, factory: connect(factory), http2.Limits(), http2_pool.APP)
        self._host = host
        self._turns = asyncio.Semaphore(at_a_time) if at_a_time > 0 else None

    async def request(self, method: bytes, target: bytes, headers: list[Header], body: Body) -> _Response:
        """Sends a request and answers with the head of its response. Raises `Unreachable`, `BodyError`."""
        if self._turns is None:
            return await self._send(method, target, headers, body)
        async with self._turns:
            return await self._send(method, target, headers, body)

    async def _send(self, method: bytes, target: bytes, headers: list[Header], body: Body) -> _Response:
        head = _head(method, target, headers)
        is_whole = body.is_whole
        data = body.whole() if is_whole else body.take()
        try:
            return await self._once(head, data, None if is_whole else body)
        except Refused:
            if not is_whole:
                raise
            return await self._once(head, data, None)

    async def _once(self, head: Sequence[Header], data: bytes, rest: Body | None) -> _Response:
        try:
            connection = await self._pool.connection(self._host)
        except http2_pool.Unreachable as error:
            raise Unreachable(str(error).removeprefix(f"{_DIAL}{self._host}: ")) from None
        request = connection.open(head, data, rest is None)
        sender = None if rest is None else asyncio.create_task(_send_rest(request, rest))
        try:
            answer = await request.head()
        except BaseException:
            request.close()
            raise
        finally:
            if sender is not None and request.headers is None:
                sender.cancel()
        fields = [header for header in answer if header[0][:1] != b":"]
        return _Response(request, sender, int(dict(answer)[b":status"]), fields)

    def retire(self) -> None:
        """Keeps no connection from here on."""
        self._pool.close()

    def close(self) -> None:
        """Closes every connection; what is under way breaks off."""
        self._pool.close()


def _head(method: bytes, target: bytes, headers: list[Header]) -> list[Header]:
    host = next((value for name, value in headers if name == b"host"), b"")
    out = [(b":method", method), (b":scheme", b"http"), (b":path", target), (b":authority", host)]
    out += [header for header in headers if header[0] != b"host" and header[0] not in HOP_BY_HOP]
    return out


async def _send_rest(request: http2_client.Request, body: Body) -> None:
    """Sends a body while it arrives, beside the wait for the answer."""
    try:
        while data := await body.read():
            await request.write(data)
        await request.write(b"", end=True)
    except BodyError as error:
        request.give_up(error)
