"""state.zookeeper keeps state in ZooKeeper: a node for each key, whose version is the etag.

A key is a path below `keyPrefixPath`: what the path has before its last slash is made when it is missing. Keys that are
no paths (empty parts, `.` and `..`, control characters) are refused. Values have 1 MB at most, unless the servers are
told otherwise. The session is kept by the library kazoo, in a thread of its own.
"""

import asyncio
import contextlib
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydapr.components import Seconds, Wrong, component, option, options, state
from pydapr.components.drivers import thread
from pydapr.components.state import (
    NO_METADATA,
    Delete,
    ETagInvalid,
    ETagMismatch,
    Item,
    Set,
    StateError,
    StateStore,
    Unavailable,
)

SECONDS = 10.0
"""How long a call may take."""

ANY = -1
_NUMBER = re.compile(r"[0-9]{1,10}\Z")
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\U0010ffff]")


@options
class Options:
    servers: str = option("Addresses of the servers, such as `localhost:2181`, by commas.")
    session_timeout: Seconds = option("How long a session outlives its connection.")
    max_buffer_size: int = option("The largest answer, in bytes; has no effect here.", default=1024 * 1024)
    max_conn_buffer_size: int = option("The buffer of a connection, in bytes; has no effect here.", default=1024 * 1024)
    key_prefix_path: str = option("The path of the node above all keys.", default="")


@component("state.zookeeper", Options)
class ZooKeeper(StateStore):
    features: Sequence[str] = (state.ETAG,)

    def __init__(self, options: Options) -> None:
        if options.session_timeout <= 0:
            raise Wrong("sessionTimeout is invalid")
        self._servers, self._session = options.servers, options.session_timeout
        self._prefix = "/".join(["", *filter(None, options.key_prefix_path.split("/"))])
        self._client: Any = None

    async def open(self) -> None:
        from kazoo.client import KazooClient  # the extra `zookeeper`
        from kazoo.exceptions import KazooException
        from kazoo.handlers.threading import KazooTimeoutError

        client = KazooClient(hosts=self._servers, timeout=self._session)
        self._client = client
        try:
            await thread.run(client.start, SECONDS)
        except KazooTimeoutError:
            raise OSError(f"no session with ZooKeeper at {self._servers} within {SECONDS:g} s") from None
        except KazooException as error:
            raise OSError(f"ZooKeeper at {self._servers}: {error or type(error).__name__}") from None

    async def close(self) -> None:
        if self._client is not None:
            await thread.run(_end, self._client)

    async def get(self, key: str, *, consistency: str = "", metadata: Mapping[str, str] = NO_METADATA) -> Item | None:
        from kazoo.exceptions import NoNodeError

        try:
            value, found = await self._call(self._client.get_async, self._path(key))
        except NoNodeError:
            return None
        return Item(value, str(found.version))

    async def set(self, request: Set) -> None:
        from kazoo.exceptions import BadVersionError, NodeExistsError, NoNodeError

        path, version = self._path(request.key), _version(request)
        while True:
            try:
                if not request.must_be_new:
                    await self._call(self._client.set_async, path, request.value, version)
                    return
            except NoNodeError:
                if version != ANY:
                    raise ETagMismatch(f"state not exist or expired for key={request.key}") from None
            except BadVersionError:
                raise ETagMismatch(f"state etag not match for key={request.key}") from None
            try:
                await self._call(self._client.create_async, path, request.value, None, False, False, True)
                return
            except NodeExistsError:
                if request.must_be_new:
                    raise ETagMismatch("item already exists and no etag was passed") from None

    async def delete(self, request: Delete) -> None:
        from kazoo.exceptions import BadVersionError, NoNodeError

        version = _version(request)
        try:
            await self._call(self._client.delete_async, self._path(request.key), version)
        except NoNodeError:
            if version != ANY:
                raise ETagMismatch(f"state not exist or expired for key={request.key}") from None
        except BadVersionError:
            raise ETagMismatch(f"state etag not match for key={request.key}") from None

    def _path(self, key: str) -> str:
        if _UNFIT.search(key) or any(part in ("", ".", "..") for part in key.split("/")):
            raise StateError(f"key {key!r} cannot be a path in ZooKeeper")
        return f"{self._prefix}/{key}"

    async def _call(self, method: Callable[..., Any], *given: object) -> Any:
        """What a call gives, which the session's thread carries out. Raises kazoo's errors about nodes, else
        `StateError`."""
        from kazoo.exceptions import (
            BadVersionError,
            KazooException,
            NodeExistsError,
            NoNodeError,
        )

        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()

        def settle(result: Any) -> None:
            if done.done():
                return
            if result.exception is not None:
                done.set_exception(result.exception)
            else:
                done.set_result(result.value)

        try:
            method(*given).rawlink(functools.partial(_tell, loop, settle))
            async with asyncio.timeout(SECONDS):
                return await done
        except (BadVersionError, NodeExistsError, NoNodeError):
            raise
        except TimeoutError:
            raise Unavailable(f"ZooKeeper did not answer within {SECONDS:g} s") from None
        except KazooException as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"ZooKeeper: {reason}") from None


def _version(request: Set | Delete) -> int:
    """The version that a node must have. Raises `ETagInvalid`."""
    if not request.etag:
        return ANY
    if not _NUMBER.match(request.etag):
        raise ETagInvalid(f"{request.etag!r} is no version of a node")
    return int(request.etag)


def _tell(loop: asyncio.AbstractEventLoop, settle: Callable[[Any], None], result: Any) -> None:
    """Called in the session's thread."""
    with contextlib.suppress(RuntimeError):  # the loop is closed: the process is about to end
        loop.call_soon_threadsafe(settle, result)


def _end(client: Any) -> None:
    client.stop()
    client.close()
