"""The page of the metrics port, and those who do not read it."""

import asyncio
import socket

from pydapr.net import server
from pydapr.observe.metrics import Registry
from pydapr.observe.metrics_page import page

LIMIT = 30.0


def full() -> Registry:
    """So many series that no socket takes them all at once."""
    registry = Registry(limit=50_000)
    family = registry.counter("it", "", "label")
    for number in range(50_000):
        family.get(str(number).ljust(200, "x")).inc()
    return registry


async def left(seconds: float) -> None:
    """Returns when nobody is connected any more; a client began to read, and did not go on."""
    loop = asyncio.get_running_loop()
    one = server.Server(page(full(), seconds))
    port = await one.listen("127.0.0.1", 0)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await asyncio.wait_for(loop.sock_recv(client, 8), LIMIT) == b"HTTP/1.1"
        await asyncio.wait_for(one.stop(None), LIMIT)


def test_who_does_not_read_the_page_is_left() -> None:
    asyncio.run(left(0.2))
