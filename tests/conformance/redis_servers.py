"""Redis as components meet it: alone, with TLS and a password, watched by a sentinel, as a cluster."""

import contextlib
import datetime
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.conformance import servers

Served = tuple[Mapping[str, str], Callable[[], None]]
"""The metadata of a component that uses a server, and how that is restarted."""

PASSWORD = "correct horse"


def _cli(port: int, *command: str) -> str:
    words = [servers.program("redis-cli"), "-p", str(port), *command]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=20).stdout.strip()


@contextlib.contextmanager
def _redis(place: Path, port: int, *options: str, stop: int = signal.SIGTERM) -> Iterator[servers.Process]:
    """A server that has all on its disk once it has acknowledged it."""
    command = [servers.program("redis-server"), "--bind", "127.0.0.1", "--dir", str(place), "--save", ""]
    command += ["--appendonly", "yes", "--appendfsync", "always"]
    if "--tls-port" not in options:
        command += ["--port", str(port)]

    def is_ready() -> bool:
        return servers.listens(port) if "--tls-port" in options else _cli(port, "PING") == "PONG"

    with servers.running([*command, *options], place, servers.account("redis"), is_ready, stop) as process:
        yield process


def _restart(*processes: servers.Process) -> Callable[[], None]:
    def restart() -> None:
        for process in processes:
            process.stop()
        for process in processes:
            process.start()

    return restart


@contextlib.contextmanager
def alone(stop: int = signal.SIGTERM) -> Iterator[Served]:
    servers.program("redis-server")
    [port] = servers.free_ports(1)
    with servers.folder(servers.account("redis")) as place, _redis(place, port, stop=stop) as process:
        yield {"redisHost": "127.0.0.1", "redisPort": str(port)}, _restart(process)


def to_kill() -> contextlib.AbstractContextManager[Served]:
    """One whose restart is a sudden end."""
    return alone(signal.SIGKILL)


@contextlib.contextmanager
def with_tls() -> Iterator[Served]:
    servers.program("redis-server")
    [port] = servers.free_ports(1)
    with servers.folder(servers.account("redis")) as place:
        certificate, key = _pair(place)
        options = ["--tls-port", str(port), "--port", "0", "--tls-auth-clients", "yes", "--requirepass", PASSWORD]
        options += ["--tls-cert-file", "own.pem", "--tls-key-file", "own.key", "--tls-ca-cert-file", "own.pem"]
        with _redis(place, port, *options) as process:
            metadata = {
                "redisHost": f"127.0.0.1:{port}", "redisPassword": PASSWORD, "redisUsername": "default", "redisDB": "3",
                "enableTLS": "true", "insecureSkipTLSVerify": "true", "clientCert": certificate, "clientKey": key,
            }  # fmt: skip
            yield metadata, _restart(process)


@contextlib.contextmanager
def with_sentinel() -> Iterator[Served]:
    servers.program("redis-server")
    port, own = servers.free_ports(2)
    user = servers.account("redis")
    with servers.folder(user) as place, servers.folder(user) as other, _redis(place, port) as process:
        settings = other / "sentinel.conf"
        settings.write_text(
            f"bind 127.0.0.1\nport {own}\ndir {other}\nsentinel monitor main 127.0.0.1 {port} 1\n"
            "sentinel down-after-milliseconds main 60000\n"
        )
        servers.give(settings, user)
        command = [servers.program("redis-server"), str(settings), "--sentinel"]
        with servers.running(command, other, user, lambda: _cli(own, "PING") == "PONG"):
            # The first address is nobody's: the next sentinel is asked.
            metadata = {"redisHost": f"127.0.0.1:1,127.0.0.1:{own}", "failover": "true", "sentinelMasterName": "main"}
            yield metadata, _restart(process)


@contextlib.contextmanager
def cluster() -> Iterator[Served]:
    servers.program("redis-server")
    *ports, bus1, bus2, bus3 = servers.free_ports(6)
    buses = [bus1, bus2, bus3]
    with contextlib.ExitStack() as stack:
        nodes = []
        for port, bus in zip(ports, buses, strict=True):
            place = stack.enter_context(servers.folder(servers.account("redis")))
            options = ["--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", "2000"]
            nodes.append(stack.enter_context(_redis(place, port, *options)))
        for number, (port, bus) in enumerate(zip(ports, buses, strict=True)):
            first, last = number * 5462, min(number * 5462 + 5461, 16383)
            _cli(port, "CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
            _cli(ports[0], "CLUSTER", "MEET", "127.0.0.1", str(port), str(bus))
        restart = _restart(*nodes)

        def wait() -> None:
            end = time.monotonic() + servers.SECONDS
            while not all("cluster_state:ok" in _cli(port, "CLUSTER", "INFO") for port in ports):
                assert time.monotonic() < end, "the cluster does not come up"
                time.sleep(0.05)

        def restart_and_wait() -> None:
            restart()
            wait()

        wait()
        yield {"redisHost": f"127.0.0.1:{ports[1]},127.0.0.1:{ports[0]}", "redisType": "cluster"}, restart_and_wait


def _pair(place: Path) -> tuple[str, str]:
    """A certificate that signs itself, and its key, as files and as texts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    certificate = made.public_bytes(serialization.Encoding.PEM)
    for file, content in (("own.pem", certificate), ("own.key", secret)):
        (place / file).write_bytes(content)
        servers.give(place / file, servers.account("redis"))
    return certificate.decode(), secret.decode()
