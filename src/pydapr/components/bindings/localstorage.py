"""bindings.localstorage keeps files in a folder of this machine, which no name of a file leads out of.

Metadata of the request: `fileName`, a path below the folder. Without it `create` makes a name of its own.
"""

import asyncio
import base64
import binascii
import json
import os
import uuid
from collections.abc import Callable

from pydapr.components import Wrong, component, option, options
from pydapr.components.bindings import Answer, BindingError, OutputBinding, Request, unquoted
from pydapr.components.drivers import thread

REFUSED = ("/proc", "/sys", "/boot", "/var/run/secrets")
MAX_LINKS = 255
AT_A_TIME = 8
"""Files that are worked on together, each by a thread."""

SECONDS = 600.0
"""How long an operation may take, which a disk of another machine may hold up."""


@options
class Options:
    root_path: str = option("The folder; it is made if it is not there.", default="")


@component("bindings.localstorage", Options)
class LocalStorage(OutputBinding):
    operations = ("create", "get", "list", "delete")

    def __init__(self, given: Options) -> None:
        if not given.root_path:
            raise Wrong("failed to parse metadata: property rootPath must not be empty")
        self._given = given
        self._root = ""
        self._turns = asyncio.Semaphore(AT_A_TIME)

    async def open(self) -> None:
        self._root = await thread.run(_root, self._given.root_path)

    async def invoke(self, request: Request) -> Answer | None:
        name = request.metadata.get("fileName", "")
        if not name and request.operation == "create":
            name = str(uuid.uuid4())
        root = self._root
        work: dict[str, Callable[[str, str, bytes], Answer | None]] = {
            "create": _create, "get": _get, "list": _list, "delete": _delete,
        }  # fmt: skip
        try:
            async with asyncio.timeout(SECONDS), self._turns:
                return await thread.run(lambda: work[request.operation](root, _inside(root, name), request.data))
        except TimeoutError:
            raise BindingError(f"{request.operation} of file {name}: not done within {SECONDS:g}s") from None


def _root(given: str) -> str:
    """The folder, made and resolved. Raises `OSError`, `ValueError`."""
    path = os.path.abspath(given)
    if os.path.exists(path) and not os.path.isdir(path):
        raise ValueError("failed to parse metadata: property rootPath represents a file and not a directory")
    path = os.path.realpath(path)
    refused = {*REFUSED, *map(os.path.realpath, REFUSED)}
    if any(path == one or path.startswith(one + os.sep) for one in refused):
        raise ValueError("failed to parse metadata: property rootPath points to a disallowed location")
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise OSError(f"unable to create directory specified by 'rootPath' {path}: {error}") from None
    return path


def _inside(root: str, name: str) -> str:
    """The path of a file, with links and `..` followed as if `root` were the root of all. Raises `BindingError`."""
    if "\0" in name:
        raise BindingError(f"error getting absolute path for file {name!r}: invalid argument")
    left, found, links = name.split("/"), [""], 0
    while left:
        part = left.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            found = found[:-1] or [""]
            continue
        here = os.path.join(root, *found, part)
        if not os.path.islink(here):
            found.append(part)
            continue
        links += 1
        if links > MAX_LINKS:
            raise BindingError(f"error getting absolute path for file {name}: too many levels of symbolic links")
        target = os.readlink(here)
        if target.startswith("/"):
            found = [""]
        left = target.split("/") + left
    return os.path.join(root, *found).rstrip("/") or "/"


def _create(root: str, path: str, data: bytes) -> Answer:
    data = unquoted(data)
    try:
        data = base64.b64decode(data.translate(None, b"\r\n"), validate=True)
    except binascii.Error:
        pass  # it is what it is
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, exist_ok=True)
    except RecursionError:
        raise BindingError(f"error creating directory {folder}: mkdir {folder}: file name too long") from None
    except OSError as error:
        raise BindingError(f"error creating directory {folder}: {_reason('mkdir', folder, error)}") from None
    try:
        with open(path, "wb", opener=_open) as file:
            file.write(data)
    except OSError as error:
        raise BindingError(f"error creating file {path}: {_reason('open', path, error)}") from None
    return Answer(json.dumps({"fileName": os.path.relpath(path, root)}, separators=(",", ":")).encode())


def _get(root: str, path: str, data: bytes) -> Answer:
    try:
        with open(path, "rb", opener=_open) as file:
            return Answer(file.read())
    except FileNotFoundError:
        raise BindingError(f"file not found: {path}") from None
    except OSError as error:
        raise BindingError(f"error reading file {path}: {_reason('read', path, error)}") from None


def _delete(root: str, path: str, data: bytes) -> None:
    try:
        if os.path.isdir(path):
            os.rmdir(path)
        else:
            os.remove(path)
    except OSError as error:
        raise BindingError(f"error deleting file {path}: {_reason('remove', path, error)}") from None


def _list(root: str, path: str, data: bytes) -> Answer:
    if not os.path.exists(path):
        raise BindingError(f"error getting stats for path {path}: stat {path}: no such file or directory")
    if not os.path.isdir(path):
        raise BindingError(f"unable to list files as the file specified is not a directory: {path}")
    found: list[str] = []
    for folder, folders, files in os.walk(path):
        folders.sort()
        links = [one for one in folders if os.path.islink(os.path.join(folder, one))]
        found += [os.path.join(folder, one) for one in (*files, *links)]
    found.sort(key=lambda one: one.split("/"))
    return Answer(json.dumps(found or None, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))


def _open(path: str, flags: int) -> int:
    """Opens a file, and waits for nobody if it is a pipe."""
    return os.open(path, flags | os.O_NONBLOCK, 0o666)


def _reason(what: str, path: str, error: OSError) -> str:
    reason = "not a directory" if isinstance(error, FileExistsError) else (error.strerror or str(error)).lower()
    return f"{what} {path}: {reason}"
