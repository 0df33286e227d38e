"""Servers that bindings call: HTTP, SMTP, SFTP and GraphQL, each in a thread or a process of its own."""

import asyncio
import contextlib
import datetime
import ipaddress
import json
import os
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.conformance import servers

from pydapr.net import tasks


class _Echo(BaseHTTPRequestHandler):
    """Answers what it was asked: JSON of method, path, header fields and body; `/status/404` with that status."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        if self.path == "/deep":
            self._send(200, None, b"[" * 200_000)
            return
        if self.path == "/graphql":
            self._send(200, _graphql(json.loads(body), {name.lower(): value for name, value in self.headers.items()}))
            return
        port = self.headers["host"].rpartition(":")[2]
        moves = {"/move": "/moved", "/away": f"http://localhost:{port}/moved", "/round": "/round"}
        if self.path in moves:
            if self.path == "/round":
                time.sleep(0.1)
            self.send_response(302)
            self.send_header("location", moves[self.path])
            self.send_header("content-length", "0")
            self.end_headers()
            return
        status = int(self.path.rpartition("/")[2]) if self.path.startswith("/status/") else 200
        headers = {name.lower(): value for name, value in self.headers.items()}
        told = {"method": self.command, "path": self.path, "headers": headers, "body": body.decode("latin-1")}
        self._send(status, told)

    def _send(self, status: int, document: Any, data: bytes = b"") -> None:
        if status != 204 and not data:
            data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("x-many", "a")
        self.send_header("x-many", "b")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = answer

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Stalling:
    """The way to a server of this machine, on which at some moment nothing moves any more."""

    def __init__(self) -> None:
        self.port = 0
        self.goes = asyncio.Event()
        self.goes.set()


@contextlib.asynccontextmanager
async def stalling(port: int) -> AsyncIterator[Stalling]:
    way = Stalling()

    async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            await way.goes.wait()
            sink.write(data)
            await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        under_way.add(task)
        there, back = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(pass_on(reader, back), pass_on(there, writer), return_exceptions=True)
        except asyncio.CancelledError:
            pass  # the end, below
        finally:
            back.transport.abort()
            writer.transport.abort()
            under_way.discard(task)

    under_way = set[asyncio.Task[Any]]()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    way.port = server.sockets[0].getsockname()[1]
    try:
        yield way
    finally:
        server.close()
        await tasks.stop(set(under_way))
        await asyncio.sleep(0)


def _graphql(asked: Any, headers: dict[str, str]) -> Any:
    if "broken" in asked["query"]:
        return {"errors": [{"message": "it is broken"}, {"message": "and more"}], "data": None}
    return {"data": {"query": asked["query"], "variables": asked["variables"], "token": headers.get("x-token")}}


@dataclass
class Secure:
    """A server over TLS. Its certificate signs itself, and opens the server to who shows it."""

    url: str
    certificate: str
    key: str
    place: Path


@contextlib.contextmanager
def secure_echo() -> Iterator[Secure]:
    with servers.folder(None) as place:
        certificate, key = pair(place)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(place / "own.pem", place / "own.key")
        context.load_verify_locations(place / "own.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        with echo(context) as url:
            yield Secure(url, certificate, key, place)


def pair(place: Path) -> tuple[str, str]:
    """A certificate of this machine that signs itself, and its key, as the files own.pem and own.key, and as texts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "here")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    certificate = made.public_bytes(serialization.Encoding.PEM)
    (place / "own.pem").write_bytes(certificate)
    (place / "own.key").write_bytes(secret)
    return certificate.decode(), secret.decode()


@contextlib.contextmanager
def echo(context: ssl.SSLContext | None = None) -> Iterator[str]:
    """The URL of an HTTP server that tells what it was asked."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http{'s' if context is not None else ''}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Mails:
    """What an SMTP server was given."""

    def __init__(self) -> None:
        self.port = 0
        self.seen: list[Any] = []
        self.was_secret = False

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address == "unknown@example.org":
            return "550 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if "refused@example.org" in envelope.rcpt_tos:
            return "554 no thanks"
        self.seen.append(envelope)
        self.was_secret = session.ssl is not None
        return "250 OK"


@contextlib.contextmanager
def smtp() -> Iterator[Mails]:
    """On all addresses of this machine alone, without TLS."""
    with _smtp(None) as mails:
        yield mails


@contextlib.contextmanager
def smtp_with_tls() -> Iterator[Mails]:
    """With STARTTLS."""
    with servers.folder(None) as place:
        pair(place)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(place / "own.pem", place / "own.key")
        with _smtp(context) as mails:
            yield mails


@contextlib.contextmanager
def _smtp(context: ssl.SSLContext | None) -> Iterator[Mails]:
    smtp_server = pytest.importorskip("aiosmtpd.smtp")
    mails = Mails()
    [mails.port] = servers.free_ports(1)

    def sign_in(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
        is_right = data.login == b"user" and data.password == b"secret"
        return smtp_server.AuthResult(success=is_right, handled=False)

    loop = asyncio.new_event_loop()
    is_up = threading.Event()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        made = loop.create_server(
            lambda: smtp_server.SMTP(
                mails, hostname="here", authenticator=sign_in, auth_require_tls=False, loop=loop, tls_context=context
            ),
            ["127.0.0.1", "127.0.0.2"],
            mails.port,
        )
        listening = loop.run_until_complete(made)
        is_up.set()
        loop.run_forever()
        listening.close()
        loop.run_until_complete(listening.wait_closed())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    assert is_up.wait(10)
    try:
        yield mails
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


class Sshd:
    """OpenSSH's server with SFTP only; `place` is where its files and keys are."""

    def __init__(self, process: servers.Process, port: int, place: Path) -> None:
        self._process, self.port, self.place = process, port, place

    def restart(self) -> None:
        self._process.stop()
        self._process.start()


@contextlib.contextmanager
def sftp() -> Iterator[Sshd]:
    program = servers.program("sshd", ["/usr/sbin"])
    keygen = servers.program("ssh-keygen")
    [port] = servers.free_ports(1)
    with servers.folder(None) as place:
        for name, words in (("host", ""), ("user", ""), ("locked", "open sesame")):
            command = [keygen, "-q", "-t", "ed25519", "-N", words, "-f", str(place / name)]
            subprocess.run(command, check=True, timeout=20, capture_output=True)
        keys = (place / "user.pub").read_text() + (place / "locked.pub").read_text()
        (place / "authorized").write_text(keys)
        (place / "files").mkdir()
        host_key = " ".join((place / "host.pub").read_text().split()[:2])
        (place / "known").write_text(f"[127.0.0.1]:{port} {host_key}\n")
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it, and nobody else has made it without systemd
        (place / "config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {place}/host\nAuthorizedKeysFile {place}/authorized\n"
            "StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
            f"Subsystem sftp internal-sftp\nPidFile {place}/pid\n"
        )
        command = [program, "-D", "-e", "-f", str(place / "config")]
        with servers.running(command, place, None, lambda: servers.listens(port)) as process:
            yield Sshd(process, port, place)
