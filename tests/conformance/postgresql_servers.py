"""PostgreSQL as components meet it, and a stand-in for what speaks as it does."""

import contextlib
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from tests.conformance import servers

Served = tuple[Mapping[str, str], Callable[[], None]]
"""The metadata of a component that uses a server, and how that is restarted."""

PASSWORD = "it's a \\ secret"
FOLDERS = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]

UNIQUE_ROWID = """
CREATE SEQUENCE rows; CREATE FUNCTION unique_rowid() RETURNS bigint LANGUAGE sql AS 'SELECT nextval(''rows'')'
"""
"""What CockroachDB has and PostgreSQL has not."""


class Server:
    """A server with one database for each kind of store."""

    def __init__(self, process: servers.Process, port: int) -> None:
        self._process, self.port = process, port

    def restart(self) -> None:
        self._process.stop()
        self._process.start()

    def sql(self, text: str, database: str = "postgres") -> str:
        command = [servers.program("psql", FOLDERS), "-h", "127.0.0.1", "-p", str(self.port), "-U", "dapr"]
        command += ["-d", database, "-AtX", "-v", "ON_ERROR_STOP=1", "-c", text]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, env={"PGPASSWORD": PASSWORD})
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()


@contextlib.contextmanager
def server() -> Iterator[Server]:
    initdb, program = servers.program("initdb", FOLDERS), servers.program("postgres", FOLDERS)
    [port] = servers.free_ports(1)
    user = servers.account("postgres")
    with servers.folder(user) as place:
        secret, data = place / "password", place / "data"
        secret.write_text(PASSWORD + "\n")
        servers.give(secret, user)
        servers.run(
            [initdb, "-D", str(data), "-U", "dapr", "-A", "scram-sha-256", "--pwfile", str(secret)], place, user
        )
        command = [program, "-D", str(data), "-p", str(port), "-k", str(place), "-c", "listen_addresses=127.0.0.1"]
        ready = servers.program("pg_isready", FOLDERS)

        def is_ready() -> bool:
            asked = [ready, "-q", "-h", "127.0.0.1", "-p", str(port)]
            return subprocess.run(asked, timeout=20, check=False).returncode == 0

        with servers.running(command, place, user, is_ready, signal.SIGINT) as process:
            yield Server(process, port)


def url() -> str:
    return f"postgres://dapr:{quote(PASSWORD)}@127.0.0.1:{servers.shared(server).port}/postgres"


def first_version() -> Served:
    one = servers.shared(server)
    quoted = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
    text = f"host=127.0.0.1 port={one.port} user=dapr password='{quoted}' dbname=postgres pool_max_conns=6"
    return {"connectionString": text}, one.restart


def second_version() -> Served:
    one = servers.shared(server)
    url = f"postgres://nobody@127.0.0.1:{one.port}/elsewhere?application_name=conformance"
    metadata = {
        "url": url, "user": "dapr", "password": PASSWORD, "database": "postgres", "tablePrefix": "public.v2_",
        "metadataTableName": "about_v2", "queryExecMode": "exec", "timeout": "10",
    }  # fmt: skip
    return metadata, one.restart


@contextlib.contextmanager
def _cockroach() -> Iterator[Server]:
    one = servers.shared(server)
    one.sql("CREATE DATABASE cockroach")
    one.sql(UNIQUE_ROWID, "cockroach")
    yield one


def cockroach() -> Served:
    one = servers.shared(_cockroach)
    metadata = {"host": "127.0.0.1", "port": str(one.port), "user": "dapr", "password": PASSWORD}
    return {**metadata, "database": "cockroach"}, one.restart
