"""A client of HTTP/2 that sends what it likes, for attacks on running processes."""

import contextlib
import select
import socket
import ssl
import time
from struct import unpack

from tests.wire import conftest as wire

from pydapr.errors import Code
from pydapr.net.server import PREFACE
from pydapr.wire import frames, hpack
from pydapr.wire.frames import ErrorCode

LIMIT = 30.0
GREETING = PREFACE + wire.settings()


class Attacker:
    """A client that sends what it likes. `told` is the code and the words of the sidecar's farewell."""

    def __init__(self, port: int, greeting: bytes = GREETING, tls: ssl.SSLContext | None = None) -> None:
        plain = socket.create_connection(("127.0.0.1", port), LIMIT)
        self.sock = plain if tls is None else tls.wrap_socket(plain)
        self._left = b""
        self.frames: list[tuple[int, int, int, bytes]] = []
        self.is_over = False
        self.send(greeting)

    def send(self, data: bytes, reads: bool = True) -> bool:
        """Sends all of it, reading meanwhile; False when the sidecar has closed."""
        left = memoryview(data)
        deadline = time.monotonic() + LIMIT
        self.sock.setblocking(False)
        while left and not self.is_over:
            assert time.monotonic() < deadline, "the sidecar neither reads nor closes"
            may_read, may_write, _ = select.select([self.sock] if reads else [], [self.sock], [], 1)
            if may_read:
                self._take()
            if may_write and not self.is_over:
                try:
                    left = left[self.sock.send(left[:65536]) :]
                except ssl.SSLWantWriteError:
                    continue
                except ConnectionError:
                    self._drain()
        return not self.is_over

    def _take(self) -> None:
        try:
            data = self.sock.recv(262144)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except ConnectionError:
            data = b""
        self.is_over = not data
        self._left += data
        while len(self._left) >= 9:
            size = unpack(">I", b"\0" + self._left[:3])[0]
            if len(self._left) < 9 + size:
                break
            kind, flags, stream = self._left[3], self._left[4], unpack(">I", self._left[5:9])[0]
            self.frames.append((kind, flags, stream, self._left[9 : 9 + size]))
            self._left = self._left[9 + size :]

    def _drain(self) -> None:
        while not self.is_over:
            self._take()

    def wait(self) -> None:
        """Reads until the sidecar closes."""
        deadline = time.monotonic() + LIMIT
        while not self.is_over:
            assert time.monotonic() < deadline, "the sidecar does not close"
            select.select([self.sock], [], [], 1)
            self._take()

    def wait_for(self, kind: int) -> tuple[int, int, int, bytes]:
        """The next frame of a kind."""
        deadline = time.monotonic() + LIMIT
        self.sock.setblocking(False)
        while not (found := [frame for frame in self.frames if frame[0] == kind]):
            assert time.monotonic() < deadline and not self.is_over, "no such frame"
            select.select([self.sock], [], [], 1)
            self._take()
        return found[0]

    @property
    def told(self) -> tuple[ErrorCode, str]:
        last = [payload for kind, _, _, payload in self.frames if kind == frames.GOAWAY][-1]
        return ErrorCode(unpack(">I", last[4:8])[0]), last[8:].decode()

    def close(self) -> None:
        self.sock.close()


def call(
    stream_id: int,
    *more: tuple[bytes, bytes],
    end: bool = True,
    path: bytes = b"/dapr.proto.runtime.v1.Dapr/GetMetadata",
) -> bytes:
    """The head of a call of gRPC."""
    fields = (
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x"),
        (b"content-type", b"application/grpc"), (b"te", b"trailers"),
    )  # fmt: skip
    return wire.headers(stream_id, (*fields, *more), end)


def answer(attacker: Attacker) -> tuple[str, str]:
    """Code and words of the answer to a call of gRPC that was refused: the fields of all heads that came."""
    decoder = hpack.Decoder()
    told: dict[bytes, bytes] = {}
    attacker.wait_for(frames.HEADERS)
    while b"grpc-status" not in told:
        for kind, _, _, payload in attacker.frames:
            if kind == frames.HEADERS:
                told.update(decoder.decode(payload))
    return Code(int(told[b"grpc-status"])).name, told.get(b"grpc-message", b"").decode()


def flood(port: int, once: bytes, each: list[bytes] | bytes, times: int = 1, reads: bool = True) -> Attacker:
    """Sends `once` and then `each` over and over until the sidecar closes."""
    attacker = Attacker(port)
    with contextlib.closing(attacker):
        attacker.send(once, reads)
        for _ in range(times):
            for piece in [each] if isinstance(each, bytes) else each:
                if not attacker.send(piece, reads):
                    break
        attacker.wait()
    return attacker
