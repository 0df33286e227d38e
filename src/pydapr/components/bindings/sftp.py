"""bindings.sftp keeps files on an SFTP server.

Metadata of the request: `fileName`, a path below `rootPath`, which may stand there too. The server must be known: by
its key, by a file of known hosts, or because any server will do.
"""

import asyncio
import json
import posixpath
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from pydapr.components import Wrong, component, option, options
from pydapr.components.bindings import Answer, BindingError, OutputBinding, Request
from pydapr.net import dial

T = TypeVar("T")

CONNECT_SECONDS = 15.0
SECONDS = 600.0
"""How long an operation may take."""


@options
class Options:
    address: str = option("The server as `host:port`.", default="")
    root_path: str = option("The folder on the server.", default="")
    username: str = option("The user.", default="")
    password: str = option("The user's password.", default="")
    private_key: str = option("The user's key, as PEM.", default="")
    private_key_passphrase: str = option("What the key is encrypted with.", default="")
    host_public_key: str = option("The server's key, as a line of `authorized_keys`.", default="")
    known_hosts_file: str = option("A file of known hosts, which has the server's key.", default="")
    insecure_ignore_host_key: bool = option("Trust any server.", default=False)
    sequential_mode: bool = option("One operation at a time.", default=False)


@component("bindings.sftp", Options)
class Sftp(OutputBinding):
    operations = ("create", "get", "delete", "list")

    def __init__(self, given: Options) -> None:
        if not (given.insecure_ignore_host_key or given.known_hosts_file or given.host_public_key):
            raise Wrong("sftp binding error: no host validation method provided")
        try:
            self._place = dial.split(given.address)
        except ValueError as error:
            raise Wrong(f"sftp binding error: create sftp client error: {error}") from None
        self._given = given
        self._how: dict[str, Any] = {}
        self._connection: Any = None
        self._client: Any = None
        self._connecting = asyncio.Lock()
        self._turns = asyncio.Semaphore(1 if given.sequential_mode else 64)

    async def open(self) -> None:
        import asyncssh

        self._library = asyncssh
        self._lost = (OSError, asyncssh.DisconnectError, asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection)
        self._how = self._rules()
        try:
            await self._connect()
        except (*self._lost, asyncssh.Error, TimeoutError) as error:
            raise OSError(f"sftp binding error: create sftp client error: {_told(error)}") from None

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.abort()

    async def invoke(self, request: Request) -> Answer | None:
        work: dict[str, Callable[[str, bytes], Awaitable[Answer | None]]] = {
            "create": self._create, "get": self._get, "delete": self._delete, "list": self._list,
        }  # fmt: skip
        path = self._path(request.metadata)
        do = work[request.operation]
        try:
            async with asyncio.timeout(SECONDS), self._turns:
                return await self._with_connection(lambda: do(path, request.data))
        except (*self._lost, self._library.Error, TimeoutError, ValueError) as error:
            raise BindingError(f"sftp binding error: {_WORDS[request.operation]} {path}: {_told(error)}") from None

    # -- operations --

    async def _create(self, path: str, data: bytes) -> Answer:
        folder, name = posixpath.split(path)
        if folder and not await self._client.exists(folder):
            await self._client.makedirs(folder, exist_ok=True)
        async with self._client.open(path, "wb") as file:
            await file.write(data)
        return Answer(json.dumps({"fileName": name}, separators=(",", ":")).encode(), {"fileName": name})

    async def _get(self, path: str, data: bytes) -> Answer:
        async with self._client.open(path, "rb") as file:
            return Answer(await file.read())

    async def _delete(self, path: str, data: bytes) -> None:
        if await self._client.isdir(path):
            await self._client.rmdir(path)
        else:
            await self._client.remove(path)

    async def _list(self, path: str, data: bytes) -> Answer:
        found = [
            {"fileName": one.filename, "isDirectory": one.attrs.type == self._library.FILEXFER_TYPE_DIRECTORY}
            for one in await self._client.readdir(path)
            if one.filename not in (".", "..")
        ]
        return Answer(json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))

    # -- within --

    def _path(self, metadata: Mapping[str, str]) -> str:
        given = {name.lower(): value for name, value in metadata.items()}
        root = given.get("rootpath") or self._given.root_path
        name = given.get("filename", "")
        if not root and not name:
            raise BindingError("sftp binding error: required metadata rootPath or fileName missing")
        return posixpath.normpath(f"{root}/{name}" if root and name else root or name)

    async def _with_connection(self, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` returns; when its connection was lost it is done once more on another one."""
        used = self._connection
        try:
            return await work()
        except self._lost:
            async with self._connecting:
                if self._connection is used:
                    await self._connect()
            return await work()

    async def _connect(self) -> None:
        host, port = self._place
        async with asyncio.timeout(CONNECT_SECONDS):
            made = await self._library.connect(host, port, **self._how)
            try:
                client = await made.start_sftp_client(path_errors="surrogateescape")
            except BaseException:
                made.abort()
                raise
        if self._connection is not None:
            self._connection.abort()
        self._connection, self._client = made, client

    def _rules(self) -> dict[str, Any]:
        """Who we are, and which server it may be. Raises `ValueError`."""
        given, library = self._given, self._library
        known: Any = None
        if not given.insecure_ignore_host_key:
            try:
                if given.known_hosts_file:
                    known = library.read_known_hosts(given.known_hosts_file)
                else:
                    known = ([library.import_public_key(given.host_public_key)], [], [])
            except (OSError, ValueError, library.Error) as error:
                what = "read known host file" if given.known_hosts_file else "parse host public key"
                raise ValueError(f"sftp binding error: {what} error: {error}") from None
        keys = []
        if given.private_key:
            try:
                keys = [library.import_private_key(given.private_key, given.private_key_passphrase or None)]
            except (ValueError, library.Error) as error:
                raise ValueError(f"sftp binding error: parse private key error: {error}") from None
        return {
            "username": given.username, "password": given.password or None, "client_keys": keys or None,
            "known_hosts": known, "config": None, "agent_path": None, "keepalive_interval": 30,
        }  # fmt: skip


_WORDS = {
    "create": "error create file",
    "get": "error reading file",
    "delete": "error remove file",
    "list": "error read dir",
}


def _told(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(getattr(error, "reason", "") or error)
