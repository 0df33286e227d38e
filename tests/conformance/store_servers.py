"""etcd, memcached, ZooKeeper, and a stand-in of MongoDB, as components meet them."""

import contextlib
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.conformance import servers

Served = tuple[Mapping[str, str], Callable[[], None]]
"""The metadata of a component that uses a server, and how that is restarted."""


def _restart(process: servers.Process) -> Callable[[], None]:
    def restart() -> None:
        process.stop()
        process.start()

    return restart


@contextlib.contextmanager
def etcd() -> Iterator[Served]:
    program = servers.program("etcd")
    client, peer = servers.free_ports(2)
    with servers.folder(None) as place:
        command = [
            program, f"--data-dir={place}/data", "--unsafe-no-fsync", f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--listen-client-urls=http://127.0.0.1:{client}", f"--advertise-client-urls=http://127.0.0.1:{client}",
        ]  # fmt: skip
        known = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=20)
        if "unsafe-no-fsync" not in known.stdout + known.stderr:
            command.remove("--unsafe-no-fsync")
        with servers.running(command, place, None, lambda: servers.listens(client)) as process:
            yield {"endpoints": f"127.0.0.1:{client}", "keyPrefixPath": "conformance"}, _restart(process)


@contextlib.contextmanager
def memcached() -> Iterator[Served]:
    program = servers.program("memcached")
    ports = servers.free_ports(2)
    user = ["-u", "nobody"] if servers.account("nobody") else []
    with servers.folder(None) as place, contextlib.ExitStack() as stack:
        for port in ports:
            command = [program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", *user]
            process = stack.enter_context(
                servers.running(command, place, None, lambda port=port: servers.listens(port))  # type: ignore[misc]
            )
        yield {"hosts": ",".join(f"127.0.0.1:{port}" for port in ports)}, _restart(process)


@contextlib.contextmanager
def zookeeper() -> Iterator[Served]:
    java = servers.program("java")
    jars = Path("/usr/share/java/zookeeper.jar")
    if not jars.exists():
        pytest.skip("zookeeper is not installed")
    port, admin = servers.free_ports(2)
    with servers.folder(None) as place:
        config = place / "zoo.cfg"
        config.write_text(
            f"tickTime=200\nmaxSessionTimeout=20000\ndataDir={place}/data\nclientPort={port}\n"
            f"clientPortAddress=127.0.0.1\nadmin.enableServer=false\nadmin.serverPort={admin}\n"
        )
        command = [
            java, "-Xmx128m", "-cp", str(jars), "-Dzookeeper.log.dir=.",
            "-Dzookeeper.4lw.commands.whitelist=ruok", "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config),
        ]  # fmt: skip
        with servers.running(command, place, None, lambda: _is_ok(port)) as process:
            yield (
                {"servers": f"127.0.0.1:{port}", "sessionTimeout": "5s", "keyPrefixPath": "/conformance"},
                _restart(process),
            )


def _is_ok(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as made:
            made.sendall(b"ruok")
            return made.recv(4) == b"imok"
    except OSError:
        return False


MONGODB = """
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import java.util.List;

public class Server {
    public static void main(String[] given) {
        MongoVersion version = new MongoVersion() {
            public List<Integer> getVersionArray() { return List.of(5, 0, 0); }
            public int getWireVersion() { return 13; }
        };
        new MongoServer(new MemoryBackend().version(version)).bind("127.0.0.1", Integer.parseInt(given[0]));
    }
}
"""


@contextlib.contextmanager
def mongodb() -> Iterator[Served]:
    """The stand-in: no transactions, and what it has is gone when it ends."""
    java, jars = servers.program("java"), servers.maven("de.bwaldvogel:mongo-java-server:1.47.0")
    [port] = servers.free_ports(1)
    with servers.folder(None) as place:
        source = place / "Server.java"
        source.write_text(MONGODB)
        command = [java, "-Xmx256m", "-cp", f"{jars}/*", str(source), str(port)]
        with servers.running(command, place, None, lambda: servers.listens(port)) as process:
            yield {"host": f"127.0.0.1:{port}", "operationTimeout": "10s"}, _restart(process)
