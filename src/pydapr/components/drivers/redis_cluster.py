"""A Redis cluster: which server has which keys, and what to do when they have moved.

Made by `drivers.redis.client`. Keys fall into slots, ranges of which the servers share (Redis cluster specification);
one that no longer has a slot says who has (`MOVED`), or who is about to (`ASK`).
"""

import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydapr.components.drivers.redis import Server, Settings, tls_context
from pydapr.components.drivers.redis_connection import Command, Failure, Reply

if TYPE_CHECKING:
    import ssl

SLOTS = 16384
_MOST_MOVES = 5


def slot(key: str) -> int:
    """That of a key: of what stands in its first braces, so that keys can be held together, or of all of it."""
    data = key.encode()
    start = data.find(b"{")
    if start >= 0:
        end = data.find(b"}", start + 1)
        if end > start + 1:
            data = data[start + 1 : end]
    return binascii.crc_hqx(data, 0) % SLOTS


class Cluster:
    """As `Server`, for all servers of a cluster."""

    def __init__(self, wanted: Settings) -> None:
        self._settings = wanted
        self._tls: ssl.SSLContext | None = None
        self._servers: dict[tuple[str, int], Server] = {}
        self._slots: list[tuple[str, int]] = []

    async def open(self) -> None:
        self._tls = tls_context(self._settings)
        await self._learn()

    async def close(self) -> None:
        for server in self._servers.values():
            await server.close()

    async def servers(self) -> Sequence[Server]:
        if not self._slots:
            await self._learn()
        return [self._server(address) for address in sorted(set(self._slots))]

    async def run(self, key: str, commands: Sequence[Command], *, may_repeat: bool = False) -> list[Reply]:
        if not self._slots:
            await self._learn()
        address = self._slots[slot(key)]
        wanted = list(commands)
        is_asking = False
        for _ in range(_MOST_MOVES):
            try:
                replies = await self._server(address).run(key, wanted, may_repeat=may_repeat)
            except OSError:
                self._slots = []  # whoever comes next learns who is in charge now
                raise
            if is_asking:
                replies = replies[1::2]
            told = next((str(one) for one in replies if isinstance(one, Failure)), "")
            if not told.startswith(("MOVED ", "ASK ")):
                return replies
            kind, _, where = told.split()[:3]
            address = _address(where, address[0])
            is_asking = kind == "ASK"
            wanted = [part for one in commands for part in (("ASKING",), one)] if is_asking else list(commands)
            if not is_asking:
                await self._learn()
        raise OSError(f"the cluster does not settle who has slot {slot(key)}")

    def _server(self, address: tuple[str, int]) -> Server:
        server = self._servers.get(address)
        if server is None:
            server = self._servers[address] = Server(
                self._settings.replace(addresses=(address,), is_cluster=False), self._tls
            )
        return server

    async def _learn(self) -> None:
        """Who has which slots, from the first server that tells."""
        reasons: list[str] = []
        for address in dict.fromkeys((*self._settings.addresses, *self._servers)):
            try:
                [reply] = await self._server(address).run("", [("CLUSTER", "SLOTS")], may_repeat=True)
            except OSError as error:
                reasons.append(str(error))
                continue
            if isinstance(reply, list) and reply:
                self._slots = _who_has(reply, address[0])
                return
            reasons.append(f"{address[0]}:{address[1]}: {reply or 'it has no slots'}")
        raise OSError(f"redis store: no server tells of the cluster: {'; '.join(reasons)}")


def _who_has(ranges: list[Reply], host: str) -> list[tuple[str, int]]:
    """The server of each slot. `host` is that of the one that tells, which may leave its own out."""
    _, _, [_, port, *_], *_ = ranges[0]
    found: list[tuple[str, int]] = [(host, port)] * SLOTS
    for first, last, [name, port, *_], *_ in ranges:
        found[first : last + 1] = [(name.decode() if name else host, port)] * (last + 1 - first)
    return found


def _address(text: str, host: str) -> tuple[str, int]:
    name, _, port = text.rpartition(":")
    return name or host, int(port)
