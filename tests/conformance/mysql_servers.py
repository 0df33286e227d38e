"""MariaDB as components meet it."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator, Mapping

from tests.conformance import servers

PASSWORD = "p@ss:w?rd"
FOLDERS = ["/usr/sbin", "/usr/libexec"]


class Server:
    def __init__(self, process: servers.Process, port: int, socket: str) -> None:
        self._process, self.port, self._socket = process, port, socket

    def restart(self) -> None:
        self._process.stop()
        self._process.start()

    def sql(self, text: str, database: str = "mysql") -> str:
        command = [servers.program("mariadb"), "--no-defaults", f"--socket={self._socket}", "-N", "-B", database]
        done = subprocess.run([*command, "-e", text], capture_output=True, text=True, timeout=20)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()


@contextlib.contextmanager
def server() -> Iterator[Server]:
    program, install = servers.program("mariadbd", FOLDERS), servers.program("mariadb-install-db")
    [port] = servers.free_ports(1)
    user = servers.account("mysql")
    with servers.folder(user) as place:
        data, socket = place / "data", place / "s"
        servers.run([install, "--no-defaults", f"--datadir={data}", "--skip-test-db"], place, user)
        command = [program, "--no-defaults", f"--datadir={data}", f"--port={port}", f"--socket={socket}"]
        command += ["--bind-address=127.0.0.1", f"--pid-file={place}/pid", "--default-time-zone=+05:30"]
        with servers.running(command, place, user, lambda: servers.listens(port)) as process:
            made = Server(process, port, str(socket))
            made.sql(f"CREATE USER dapr@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO dapr@'%'")
            yield made


def alone() -> tuple[Mapping[str, str], Callable[[], None]]:
    one = servers.shared(server)
    text = f"dapr:{PASSWORD}@tcp(127.0.0.1:{one.port})/?allowNativePasswords=true"
    return {"connectionString": text, "schemaName": "made_by_us"}, one.restart
