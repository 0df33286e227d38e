"""The members of a cluster asking each other who leads: `election` over the network.

Made by `runtime`. A question is a unary gRPC call with a small JSON object to the port of `--initial-cluster`, over
mTLS with the identity that all members share. A cluster of one member leads at once.
"""

import asyncio
import json
import random
import secrets
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING

from pydapr.controlplane.process import Fatal
from pydapr.errors import Code, RpcError
from pydapr.net import dial, grpc_client, grpc_server, http2_pool
from pydapr.net.keepalive import now
from pydapr.observe import logging
from pydapr.placement.election import PATIENCE, Election, Request
from pydapr.wire import http2

if TYPE_CHECKING:
    from pydapr.controlplane.identity import Identity
    from pydapr.net.http2_server import ServerExchange
    from pydapr.placement.flags import Member

log = logging.get("dapr.placement.leadership")

PATH = b"/pydapr.placement.Election/Ask"
MAX_MESSAGE = 64 * 1024

LOOK_UP_SECONDS = 0.5
LOOK_UPS = 240
"""How often our own name is looked up: Kubernetes knows it some time after the process has started."""

_POOL = http2_pool.Patience(connect=PATIENCE, quiet=2.0, answer=2.0)


class Cluster:
    """This member among the others. `changed` is told when it begins to lead, and when it no longer does."""

    def __init__(
        self, me: str, members: Sequence["Member"], identity: "Identity | None", changed: Callable[[bool], None]
    ) -> None:
        self._others = {member.id: member.address for member in members if member.id != me}
        self._me = me
        self._named = sorted(member.id for member in members)
        self._identity = identity
        self._changed = changed
        self._election = Election(me, self._named, secrets.token_hex(8), now(), random.random)
        connect = dial.address if identity is None else identity.way_to(identity.id)
        self._pool = http2_pool.Pool(connect, http2.Limits(), _POOL)
        self._is_leading = False
        self._wake = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()
        self._refused: set[str] = set()

    def holds(self) -> bool:
        """Whether this member leads at this moment."""
        return self._election.leads(now())

    def methods(self) -> grpc_server.Methods:
        """What other members call."""
        return grpc_server.Methods({PATH: self._answer})

    async def run(self) -> None:
        """Takes part in elections until cancelled."""
        while True:
            self._send(self._election.tick(now()))
            self._tell()
            self._wake.clear()
            due = max(self._election.due - now(), 0.0)
            try:
                async with asyncio.timeout(min(due, 60.0)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def close(self) -> None:
        """Leads no longer, and tells the others, which need not wait then."""
        self._send(self._election.resign(now()))
        self._tell()
        if self._calls:
            await asyncio.wait(self._calls, timeout=PATIENCE / 2)
        for call in self._calls:
            call.cancel()
        self._pool.close()

    def _tell(self) -> None:
        is_leading = self.holds()
        if is_leading != self._is_leading:
            self._is_leading = is_leading
            self._changed(is_leading)

    # -- asking --

    def _send(self, requests: Sequence[Request]) -> None:
        for request in requests:
            for member, address in self._others.items():
                self._start(self._ask(request, member, address))

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _ask(self, request: Request, member: str, address: str) -> None:
        body = {"kind": request.kind, "from": self._me, "run": request.run, "count": request.count}
        message = json.dumps({**body, "members": self._named}).encode()
        with_tls = self._identity is not None
        try:
            async with asyncio.timeout(PATIENCE):
                connection = await self._pool.connection(address)
                answer = await grpc_client.call(connection, PATH, address, message, PATIENCE, with_tls)
            agrees = json.loads(answer).get("agrees") is True
        except (http2_pool.Unreachable, RpcError, TimeoutError, ValueError, AttributeError) as error:
            log.debug(f"Member {member} has not answered: {error}")
            return
        self._send(self._election.answered(request, member, agrees, now()))
        self._tell()
        self._wake.set()

    # -- answering --

    async def _answer(self, exchange: "ServerExchange") -> None:
        identity = self._identity
        if identity is not None and exchange.peer_identity != str(identity.id):
            raise RpcError(Code.PERMISSION_DENIED, "only members of the cluster may ask")
        request = self._read(await grpc_server.read(exchange, MAX_MESSAGE))
        agrees = self._election.requested(request, now())
        self._tell()
        self._wake.set()
        grpc_server.reply(exchange, json.dumps({"agrees": agrees}).encode())

    def _read(self, data: bytes) -> Request:
        """Raises `RpcError`."""
        try:
            said = json.loads(data)
            request = Request(str(said["kind"]), str(said["from"]), str(said["run"]), int(said["count"]))
            named = said["members"]
        except (ValueError, KeyError, TypeError):
            raise RpcError(Code.INVALID_ARGUMENT, "not a question of a member") from None
        if named != self._named or request.sender not in self._others:
            if request.sender not in self._refused and len(self._refused) < len(self._named):
                self._refused.add(request.sender)
                log.warning(f"Member {request.sender} has another initial-cluster: {named}, here {self._named}")
            raise RpcError(Code.FAILED_PRECONDITION, "another initial-cluster")
        return request


async def own_place(address: str) -> tuple[str, int]:
    """The address on which this member listens. Raises `Fatal`."""
    try:
        host, port = dial.split(address)
    except ValueError as error:
        raise Fatal(f"failed to create raft listener: {error}") from None
    if not host:
        return "", port
    loop = asyncio.get_running_loop()
    for look in range(LOOK_UPS):
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            if look == LOOK_UPS - 1:
                raise Fatal(f"failed to resolve {address}: {error.strerror or error}") from None
            await asyncio.sleep(LOOK_UP_SECONDS * (0.5 + random.random()))
            continue
        found.sort(key=lambda place: place[0] != socket.AF_INET)
        return str(found[0][4][0]), port
    raise AssertionError("unreachable")
