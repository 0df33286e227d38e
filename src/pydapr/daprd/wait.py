"""`daprd --wait`: waits until a sidecar on this machine can be used by its app."""

import asyncio
import sys
import time

from pydapr.net import dial
from pydapr.net.body import Body, BodyError
from pydapr.net.pool import Pool, Unreachable

SECONDS = 60.0
PAUSE = 0.1
TRY_SECONDS = 0.5


def until_outbound_ready(port: int) -> int:
    """Asks `/v1.0/healthz/outbound` on `port` for up to a minute; 0 in any case, like the original."""
    url = f"http://localhost:{port}/v1.0/healthz/outbound"
    sys.stderr.write(f"Waiting for Dapr to be outbound ready (timeout: {SECONDS:.0f} seconds): url={url}\n")
    if asyncio.run(_ask(port)):
        sys.stderr.write("Dapr is outbound ready!\n")
    else:
        sys.stderr.write("timeout waiting for Dapr to become outbound ready\n")
    return 0


async def _ask(port: int) -> bool:
    pool = Pool(dial.to("localhost", port))
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            async with asyncio.timeout(TRY_SECONDS):
                host = [(b"host", b"localhost:%d" % port)]
                response = await pool.request(b"GET", b"/v1.0/healthz/outbound", host, Body.of(b""))
            if response.status == 204:
                return True
        except (Unreachable, BodyError, TimeoutError):
            pass
        await asyncio.sleep(PAUSE)
    return False
