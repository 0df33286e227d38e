"""HTTP/1.1 spoken byte by byte: the smallest client and server that hide nothing.

Used by the integration tests through `harness`: a client or an app that tidies headers, follows redirects or
buffers bodies would pass over what these tests are about.
"""

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

LIMIT = 30.0
"""Seconds that any single read or write may take."""

Header = tuple[str, str]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Broken(Exception):
    """The message ended before it was complete."""


@dataclass
class Message:
    """A request or an answer; `start` is its first line. `headers` keep the order and case of the wire."""

    start: str
    headers: list[Header]
    body: bytes = b""
    raw_head: bytes = b""

    @property
    def status(self) -> int:
        return int(self.start.split(" ")[1])

    @property
    def verb(self) -> str:
        return self.start.split(" ")[0]

    @property
    def target(self) -> str:
        return self.start.split(" ")[1]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        values = self.all(name)
        return values[0] if values else None

    def names(self) -> set[str]:
        return {name.lower() for name, _ in self.headers}


class Wire:
    """One connection, either side."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(LIMIT)
        self.sock = sock
        self._seen = bytearray()
        self._left: int | None = 0
        self._is_chunked = False
        self._to_the_end = False

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_until_answered(self, data: bytes) -> None:
        """Sends like a client that listens meanwhile, and stops when the peer has spoken."""
        left = memoryview(data)
        while left:
            spoken, _, _ = select.select([self.sock], [self.sock], [], LIMIT)
            if spoken:
                return
            left = left[self.sock.send(left[:65536]) :]

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def reset(self) -> None:
        """Ends the connection without a goodbye."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def is_closed(self) -> bool:
        """Waits for the peer to close; False if it says something instead."""
        try:
            return not self.sock.recv(1)
        except ConnectionError:
            return True

    def _more(self) -> bool:
        data = self.sock.recv(262144)
        self._seen += data
        return bool(data)

    def head(self, without_body: bool = False) -> Message:
        """The next head; its body is read by `piece`. Raises `Broken`."""
        while (end := self._seen.find(b"\r\n\r\n")) < 0:
            if not self._more():
                raise Broken(bytes(self._seen))
        raw = bytes(self._seen[: end + 4])
        del self._seen[: end + 4]
        lines = raw[:-4].decode("latin-1").split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
        message = Message(lines[0], headers, raw_head=raw)
        is_answer = lines[0].startswith("HTTP/")
        length = message.get("content-length")
        self._is_chunked = (message.get("transfer-encoding") or "").lower() == "chunked"
        bare = without_body or (is_answer and (message.status < 200 or message.status in (204, 304)))
        self._to_the_end = is_answer and not bare and length is None and not self._is_chunked
        self._left = 0 if bare else int(length or 0)
        self._is_chunked = self._is_chunked and not bare
        return message

    def piece(self) -> bytes:
        """The next bytes of the body, as they arrive; b"" at its end. Raises `Broken`."""
        if self._is_chunked:
            return self._chunk()
        if not self._left and not self._to_the_end:
            return b""
        if not self._seen and not self._more():
            if self._to_the_end:
                return b""
            raise Broken(f"{self._left} bytes missing")
        data = bytes(self._seen if self._to_the_end else self._seen[: self._left])
        del self._seen[: len(data)]
        if not self._to_the_end:
            self._left = (self._left or 0) - len(data)
        return data

    def _line(self) -> bytes:
        while (end := self._seen.find(b"\r\n")) < 0:
            if not self._more():
                raise Broken("in a chunk")
        line = bytes(self._seen[:end])
        del self._seen[: end + 2]
        return line

    def _chunk(self) -> bytes:
        size = int(self._line().split(b";")[0], 16)
        while len(self._seen) < size + 2:
            if not self._more():
                raise Broken("in a chunk")
        data = bytes(self._seen[:size])
        del self._seen[: size + 2]
        if not size:
            self._is_chunked, self._left = False, 0
        return data

    def pieces(self) -> Iterator[bytes]:
        while data := self.piece():
            yield data

    def message(self, without_body: bool = False) -> Message:
        """The next head with its whole body. Raises `Broken`."""
        message = self.head(without_body)
        message.body = b"".join(self.pieces())
        return message


Handler = Callable[[Wire, Message], None]
"""Gets a connection and the head of a request; reads the rest, answers."""


def answer(status: str = "200 OK", *headers: str, body: bytes = b"") -> bytes:
    """The bytes of an answer whose length is stated."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def always(data: bytes) -> Handler:
    """An app that takes the whole request and answers with these bytes."""

    def handle(wire: Wire, request: Message) -> None:
        request.body = b"".join(wire.pieces())
        wire.send(data)

    return handle


def echo(wire: Wire, request: Message) -> None:
    """An app that answers with the body of the request."""
    request.body = b"".join(wire.pieces())
    wire.send(answer(body=request.body))


@dataclass
class App:
    """An app in this process that keeps what it was asked; what a handler raises is kept in `faults`."""

    handler: Handler
    port: int = 0
    seen: list[Message] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)
    config: bytes = b""
    """What it says that it hosts, when it is asked."""

    def __post_init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", self.port), backlog=512)
        self.port = self._listening.getsockname()[1]
        self._wires: set[Wire] = set()
        self._threads: list[threading.Thread] = []
        self._is_closed = False
        self._start(self._accept)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            wire = Wire(sock)
            self._wires.add(wire)
            self._start(lambda wire=wire: self._serve(wire))  # type: ignore[misc]

    def _serve(self, wire: Wire) -> None:
        wire.sock.settimeout(None)
        try:
            while True:
                request = wire.head()
                if request.target != "/dapr/config":
                    self.seen.append(request)
                    self.handler(wire, request)
                    continue
                wire.send(answer("200 OK" if self.config else "404 Not Found", body=self.config))
        except (Broken, OSError) as error:
            if not self._is_closed:
                self.faults.append(error)
        finally:
            wire.close()
            self._wires.discard(wire)

    @property
    def last(self) -> Message:
        return self.seen[-1]

    def close(self) -> None:
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for wire in list(self._wires):
            wire.close()
        for thread in self._threads:
            thread.join(5)


def connect(port: int, path: str = "") -> Wire:
    """A connection to a port of this machine, or to a Unix domain socket."""
    if path:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(path)
        except OSError:
            sock.close()
            raise
        return Wire(sock)
    return Wire(socket.create_connection(("127.0.0.1", port), timeout=LIMIT))


def request(verb: str, target: str, headers: tuple[str, ...] = (), body: bytes | None = None) -> bytes:
    """The bytes of a request; a body states its length unless the headers speak of its framing."""
    lines = [f"{verb} {target} HTTP/1.1", *headers]
    given = {line.partition(":")[0].lower() for line in headers}
    if "host" not in given:
        lines.append("Host: sidecar.test")
    if body is not None and not given & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + (body or b"")
