"""nameresolution.standard, the self-hosted default: the registry of this Dapr home first, and mDNS beside it.

`daprd/runtime.py` takes it when no Configuration names another. Our own sidecars of one home find each other
in the registry within a millisecond and without multicast; sidecars of other machines and the original's join
through mDNS. Where both know a sidecar its address is there once.
"""

import asyncio
import functools
import importlib
import os
import time
from typing import cast

from pydapr.components.nameresolution import Addresses, Bench, Clock, Instance, Log, NotFound, Resolver


def self_hosted(home: str | os.PathLike[str], log: Log, *, mdns: bool = True) -> Resolver:
    """`home` is the folder that holds the registry: ~/.dapr, or .dapr below DAPR_RUNTIME_PATH."""
    registry = importlib.import_module("pydapr.components.nameresolution.local").Local(home, log)
    if not mdns:
        return cast(Resolver, registry)
    return Standard(registry, importlib.import_module("pydapr.components.nameresolution.mdns").Mdns(log))


class Standard(Resolver):
    """Answers from `first` when that knows anybody, and waits for `second` only when it does not."""

    def __init__(self, first: Resolver, second: Resolver, *, clock: Clock = time.monotonic) -> None:
        self._first, self._second = first, second
        self._bench = Bench(clock)

    async def open(self) -> None:
        await self._first.open()
        await self._second.open()

    async def register(self, instance: Instance) -> None:
        await self._second.register(instance)
        await self._first.register(instance)

    def known(self, app_id: str, namespace: str) -> Addresses:
        first = self._first.known(app_id, namespace)
        second = self._second.known(app_id, namespace)
        addresses = merged(first, second) if second and first else first or second
        return self._bench.without(addresses) if self._bench else addresses

    async def resolve(self, app_id: str, namespace: str) -> Addresses:
        if found := self.known(app_id, namespace):
            return found
        waiting = asyncio.ensure_future(self._second.resolve(app_id, namespace))
        try:
            found = await self._first.resolve(app_id, namespace)
        except NotFound as here:
            found = await _or_else(waiting, here)
        finally:
            await _stopped(waiting)
        return self.known(app_id, namespace) or found

    def report_dead(self, app_id: str, namespace: str, address: str) -> None:
        self._bench.add(address)
        self._first.report_dead(app_id, namespace, address)
        self._second.report_dead(app_id, namespace, address)

    async def close(self) -> None:
        await self._second.close()
        await self._first.close()


@functools.lru_cache(256)
def merged(first: Addresses, second: Addresses) -> Addresses:
    return tuple(dict.fromkeys(first + second))


async def _or_else(waiting: asyncio.Future[Addresses], here: NotFound) -> Addresses:
    try:
        return await waiting
    except NotFound as there:
        raise NotFound(here.app_id, here.looked + there.looked) from None


async def _stopped(task: asyncio.Future[Addresses]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # seen: the answer of `first` was enough
