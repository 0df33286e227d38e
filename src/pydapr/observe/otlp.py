"""OTLP: sending to a collector over gRPC or HTTP, and the parts of its messages that all signals share.

Used by `observe.tracing_otlp`, `metrics_otlp` and `logs_otlp`. The messages are those of opentelemetry-proto v1,
written by hand because they are few; what a collector answers is looked at for a refusal and nothing else. A collector
that is busy or away is asked again for as long as a batch may take, as the specification wants it (OTLP, "Failures").
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydapr.errors import Code, RpcError
from pydapr.net import dial, grpc_client, http2_pool
from pydapr.net.body import Body, BodyError
from pydapr.net.pool import Pool, Unreachable
from pydapr.wire import http2, invocation

if TYPE_CHECKING:
    import ssl

    from pydapr.net.http2_client import ClientConnection

_field = invocation.field
_known: dict[tuple[str, str], bytes] = {}
_MOST = 2048

FIRST_PAUSE, LONGEST_PAUSE, GIVE_UP = 5.0, 30.0, 60.0
"""Seconds before the second try, between the last ones, and until there is no further one."""

LONGEST_ANSWER = 1 << 20
"""Bytes of an answer, of which nothing is wanted but that it comes to an end."""

_AGAIN_HTTP = frozenset({429, 502, 503, 504})
_AGAIN_GRPC = frozenset(
    {
        Code.CANCELLED, Code.DEADLINE_EXCEEDED, Code.ABORTED, Code.OUT_OF_RANGE, Code.UNAVAILABLE, Code.DATA_LOSS,
    }
)  # fmt: skip


class Refused(Exception):
    """The collector did not take a message. `may_repeat`: it may take it later."""

    def __init__(self, text: str, may_repeat: bool) -> None:
        super().__init__(text)
        self.may_repeat = may_repeat


# -- messages --


def text(tag: bytes, value: str) -> bytes:
    """A field with text."""
    return _field(tag, value.encode("utf-8", "replace"))


def attribute(tag: bytes, key: str, value: str) -> bytes:
    """A `KeyValue` with a text; those that come again are remembered."""
    known = _known.get((key, value))
    if known is None:
        known = text(b"\x0a", key) + _field(b"\x12", text(b"\x0a", value))
        if len(known) <= 256:
            if len(_known) >= _MOST:
                _known.clear()
            _known[key, value] = known
    return _field(tag, known)


def resource(attributes: Mapping[str, str]) -> bytes:
    """A `Resource`."""
    return b"".join([attribute(b"\x0a", key, value) for key, value in attributes.items()])


# -- sending --


@dataclass(frozen=True, slots=True)
class Target:
    """Where a collector is. `address` is host and port; `path` is for HTTP; `headers` go with each message."""

    address: str
    is_secure: bool
    headers: tuple[tuple[str, str], ...] = ()
    timeout: float = 10.0
    path: str = ""
    compress: bool = False
    tls: "ssl.SSLContext | None" = None

    def fields(self) -> list[tuple[bytes, bytes]]:
        return [(name.lower().encode("ascii", "replace"), value.encode()) for name, value in self.headers]

    def place(self) -> tuple[str, int]:
        """Raises `ValueError`."""
        host, colon, port = self.address.rpartition(":")
        if not colon or self.address.endswith("]"):
            return self.address.strip("[]"), 443 if self.is_secure else 80
        return dial.split(f"{host}:{port}")


class HttpSender:
    """Posts messages."""

    def __init__(self, target: Target) -> None:
        host, port = target.place()
        self._target = target
        self.ending = asyncio.Event()
        self._pool = Pool(dial.to(host, port, target.is_secure, context=target.tls))

    async def send(self, data: bytes) -> None:
        """Raises `Refused`."""
        target = self._target
        headers = [
            (b"host", target.address.encode()),
            (b"user-agent", b"pydapr"),
            (b"content-type", b"application/x-protobuf"),
            *target.fields(),
        ]
        if target.compress:
            data = _gzip(data)
            headers.append((b"content-encoding", b"gzip"))
        headers.append((b"content-length", b"%d" % len(data)))
        try:
            response = await self._pool.request(b"POST", target.path.encode(), headers, Body.of(data))
            try:
                await response.body.read_all(LONGEST_ANSWER)
            finally:
                response.close()
        except (Unreachable, BodyError) as error:
            raise Refused(f"{target.address}: {error}", True) from None
        if not 200 <= response.status < 300:
            raise Refused(f"{target.address} answered {response.status}", response.status in _AGAIN_HTTP)

    def close(self) -> None:
        self._pool.close()


class GrpcSender:
    """Calls `Export` of one of the collector's services, whose path is `method`."""

    def __init__(self, target: Target, method: bytes) -> None:
        self._place = target.place()
        self._target, self._method = target, method
        self.ending = asyncio.Event()
        self._pool = http2_pool.Pool(self._connect, http2.Limits(), http2_pool.APP)

    async def _connect(self, _: str, factory: dial.Factory) -> object:
        host, port = self._place
        target = self._target
        tls = target.tls or (_tls() if target.is_secure else None)
        return await dial.to(host, port, target.is_secure, context=tls)(factory)

    async def send(self, data: bytes) -> None:
        """Raises `Refused`."""
        target = self._target
        try:
            await grpc_client.call(
                await self._connection(), self._method, target.address, _gzip(data) if target.compress else data,
                target.timeout, target.is_secure, target.fields(), target.compress,
            )  # fmt: skip
        except http2_pool.Unreachable as error:
            raise Refused(f"{target.address}: {error}", True) from None
        except RpcError as error:
            raise Refused(f"{target.address} answered {error}", error.code in _AGAIN_GRPC) from None

    async def _connection(self) -> "ClientConnection":
        return self._pool.ready(self._target.address) or await self._pool.connection(self._target.address)

    def close(self) -> None:
        self._pool.close()


Sender = HttpSender | GrpcSender
"""`ending` is set when the sidecar ends: then nobody waits to ask again."""


async def deliver(sender: Sender, data: bytes, seconds: float) -> None:
    """Sends a message, again if the collector may take it later; a try takes `seconds` at most. Raises `Refused`."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + GIVE_UP
    pause = FIRST_PAUSE
    while True:
        try:
            async with asyncio.timeout(seconds):
                await sender.send(data)
            return
        except TimeoutError:
            refused = Refused(f"no answer within {seconds:g} s", True)
        except Refused as error:
            refused = error
        wait = pause * random.uniform(0.5, 1.5)
        if not refused.may_repeat or loop.time() + wait >= ends or await _ends_within(sender, wait):
            raise refused
        pause = min(pause * 1.5, LONGEST_PAUSE)


async def _ends_within(sender: Sender, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await sender.ending.wait()
    except TimeoutError:
        return False


def _gzip(data: bytes) -> bytes:
    import gzip

    return gzip.compress(data, 1)


def _tls() -> "ssl.SSLContext":
    from pydapr.net import client_tls

    made = client_tls.context("", "", "")
    made.set_alpn_protocols(["h2"])
    return made
