"""One HTTP request to a sidecar on this machine, by port or by Unix socket; OSError when it cannot be made.

`sidecars.py` reads metadata with it, `run.py` writes metadata, `invoke.py` calls an app.
"""

import os
import socket
from http.client import HTTPConnection, HTTPException
from typing import NamedTuple

from pydapr.cli.address import Address


class Answer(NamedTuple):
    status: int
    reason: str
    body: bytes


class _SocketConnection(HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def request(
    address: Address,
    method: str,
    path: str,
    body: bytes = b"",
    content_type: str = "",
    timeout: float | None = None,
) -> Answer:
    """Send one request, with the API token of the environment if there is one."""
    if address.socket_path:
        connection: HTTPConnection = _SocketConnection(address.socket_path, timeout)
    else:
        connection = HTTPConnection("127.0.0.1", address.port, timeout=timeout)
    headers = {"Content-Type": content_type} if content_type else {}
    token = os.environ.get("DAPR_API_TOKEN")
    if token:
        headers["dapr-api-token"] = token
    try:
        connection.request(method, path, body or None, headers)
        response = connection.getresponse()
        return Answer(response.status, response.reason, response.read())
    except HTTPException as broken:
        raise OSError(f"{type(broken).__name__}: {broken}") from broken
    finally:
        connection.close()
