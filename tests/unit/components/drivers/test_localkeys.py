"""Providers that have the keys themselves: how much of their work goes on at a time."""

import asyncio
import threading

from pydapr.components.drivers import jwk, localkeys


class Slow(localkeys.LocalKeys):
    """Counts those that look for a key at the same time, and has none of them go on before `gate` opens."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.counted = threading.Semaphore(0)

    def key(self, name: str) -> jwk.Key:
        self.counted.release()
        self.gate.wait(30)
        return jwk.Key("oct", secret=bytes(32))


async def test_more_work_than_there_are_threads_waits_its_turn() -> None:
    provider = Slow()
    wrapping = [asyncio.create_task(provider.wrap(bytes(32), "A256KW", "k")) for _ in range(3 * localkeys.THREADS)]

    for _ in range(localkeys.THREADS):
        assert await asyncio.to_thread(provider.counted.acquire, timeout=10)
    assert not provider.counted.acquire(blocking=False)

    provider.gate.set()
    assert len(await asyncio.wait_for(asyncio.gather(*wrapping), 30)) == 3 * localkeys.THREADS
