"""state.redis keeps state in Redis: a server, one that sentinels watch, or a cluster. The original may share it.

A value is a hash as the original makes it (`data`, `version`, `first-write`). A JSON value (`contentType` of the
request) is a document where the server has the modules for JSON and search; `queryIndexes` make them found by queries.

A transaction happens as a whole or not at all. In a cluster that holds for keys in one slot, such as those with the
same text in braces; with others it is tried first, and what another writes in between can end it in the middle. All
requests share one connection, so that the original's options about pools have no meaning.
"""

import base64
import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from heapq import nsmallest
from typing import TYPE_CHECKING

from pydapr.components import Wrong, component, option, options, state
from pydapr.components.drivers import redis, redis_search
from pydapr.components.drivers.redis_connection import Command, Failure, Reply
from pydapr.components.state import (
    NO_METADATA,
    Delete,
    ETagInvalid,
    ETagMismatch,
    Item,
    Keys,
    Matches,
    Set,
    StateError,
    StateStore,
    Unavailable,
)
from pydapr.lib import query as queries

if TYPE_CHECKING:
    from pydapr.components.drivers.redis import Server
    from pydapr.components.drivers.redis_cluster import Cluster

_APPLY = """
local gone = {}
local function look(key, is_json)
  if is_json then
    local version = redis.pcall("JSON.GET", key, ".version")
    if type(version) == "table" then return false, false, true end
    local first = redis.pcall("JSON.GET", key, ".first-write")
    return version, first and type(first) ~= "table", false
  end
  local found = redis.pcall("HMGET", key, "version", "first-write")
  if found.err then return false, false, true end
  return found[1], found[2], false
end
local found = {}
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 5
  local kind, etag, first = ARGV[at + 1], ARGV[at + 2], ARGV[at + 4]
  local version, is_first, is_other = look(key, kind == "JS" or kind == "JD")
  if etag ~= "" then
    if version and version ~= etag then return i end
  elseif not gone[key] then
    if first == "2" and version then return i end
    if first ~= "2" and (kind == "S" or kind == "JS") and version and version ~= "0" and is_first then return i end
  end
  gone[key] = kind == "D" or kind == "JD"
  found[key] = is_other
end
if ARGV[#KEYS * 5 + 1] then return 0 end
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 5
  local kind, value, first, seconds = ARGV[at + 1], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
  if kind == "D" or kind == "JD" or found[key] then
    redis.call("DEL", key)
    found[key] = false
  end
  if kind == "S" then
    redis.call("HSET", key, "data", value)
    if first ~= "0" then redis.call("HSET", key, "first-write", 0) end
    redis.call("HINCRBY", key, "version", 1)
  elseif kind == "JS" then
    local version = look(key, true)
    redis.call("JSON.SET", key, "$", value)
    if first ~= "0" then redis.call("JSON.SET", key, ".first-write", 0) end
    redis.call("JSON.SET", key, ".version", (version or 0) + 1)
  end
  if kind == "S" or kind == "JS" then
    if seconds == "" then redis.call("PERSIST", key) else redis.call("EXPIRE", key, seconds) end
  end
end
return 0
"""
"""Does operations in their order, or none; the number of the first that may not be done, 0 when all were.

For each key five arguments: what to do (S and D set and delete, J before them for documents), the etag it must have
if it is there, the value, 0, 1 or 2 (any, first-write, must be new as well), and the seconds until its end. With one
more argument it only says whether it would do them.
"""

_SHA = hashlib.sha1(_APPLY.encode(), usedforsecurity=False).hexdigest()
_SCAN = 1000
_REPLICATION_MS = 1000
"""How long a write with strong consistency waits for replicas, as in the original."""

_SPECIAL = re.compile(r"[*?\[\]\\^]")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}\Z")


@options
class Options(redis.Options):
    ttl_in_seconds: int | None = option("How long values are kept that do not say.", default=None)
    query_indexes: str = option("Indexes for queries, as JSON.", default="")


@component("state.redis", Options)
class Redis(StateStore):
    features: Sequence[str] = (state.ETAG, state.TRANSACTIONAL, state.TTL, state.KEYS_LIKE)

    def __init__(self, options: Options) -> None:
        self._settings = redis.settings(options)
        self._redis = redis.client(self._settings)
        self._strong: Server | Cluster | None = None
        """The connection for writes that wait for replicas, during which it does nothing else."""
        self._replicas = 0
        self._has_json = False
        self._ttl = options.ttl_in_seconds
        try:
            self._indexes = redis_search.indexes(options.query_indexes)
        except ValueError as error:
            raise Wrong(str(error)) from None

    async def open(self) -> None:
        await self._redis.open()
        [server, *_] = await self._redis.servers()
        told, answer = await server.run("", [("INFO", "replication"), ("JSON.GET",)], may_repeat=True)
        if isinstance(told, bytes):
            counted = re.search(rb"connected_slaves:(\d+)", told)
            self._replicas = int(counted[1]) if counted else 0
        if self._replicas:
            self._strong = redis.client(self._settings)
            await self._strong.open()
        self._has_json = not str(answer).startswith("ERR unknown command")
        if self._has_json:
            self.features = (state.ETAG, state.TRANSACTIONAL, state.TTL, state.QUERY_API, state.KEYS_LIKE)
        for index in self._indexes.values():
            await self._make(server, index)

    async def close(self) -> None:
        await self._redis.close()
        if self._strong is not None:
            await self._strong.close()

    async def get(self, key: str, *, consistency: str = "", metadata: Mapping[str, str] = NO_METADATA) -> Item | None:
        if metadata and self._is_json(metadata):
            found, left = await self._read(key, [("JSON.GET", key), ("PTTL", key)])
            return _document(_checked(found), left)
        found, left = await self._read(key, [("HGETALL", key), ("PTTL", key)])
        if isinstance(found, Failure):  # a plain value, such as those of versions long gone
            [found] = await self._read(key, [("GET", key)])
            value = _checked(found)
            return None if value is None else _item(value, "", left)
        if not found:
            return None
        fields = dict(zip(found[::2], found[1::2], strict=True))
        if b"data" not in fields or b"version" not in fields:
            raise StateError("required hash field 'data' or 'version' was not found")
        return _item(fields[b"data"], fields[b"version"].decode(), left)

    async def set(self, request: Set) -> None:
        await self._apply([request], NO_METADATA)

    async def delete(self, request: Delete) -> None:
        await self._apply([request], NO_METADATA)

    async def transact(self, operations: Sequence[Set | Delete], *, metadata: Mapping[str, str] = NO_METADATA) -> None:
        groups = [operations]
        if self._settings.is_cluster:
            from pydapr.components.drivers.redis_cluster import slot

            slots: dict[int, list[Set | Delete]] = {}
            for one in operations:
                slots.setdefault(slot(one.key), []).append(one)
            groups = list(slots.values())
        if len(groups) > 1:
            for group in groups:
                await self._apply(group, metadata, is_trial=True)
        for group in groups:
            if group:
                await self._apply(group, metadata)

    async def keys(self, prefix: str, *, limit: int, token: str = "") -> Keys:
        """Goes through all keys of the server, as the original does; what it keeps of them is one page."""
        pattern = _SPECIAL.sub(r"\\\g<0>", prefix) + "*"
        found: list[str] = []
        try:
            for server in await self._redis.servers():
                cursor: bytes = b"0"
                while True:
                    command = ("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN)
                    [reply] = await server.run("", [command], may_repeat=True)
                    cursor, some = _checked(reply)
                    names = {one.decode("utf-8", "replace") for one in some}
                    found = nsmallest(limit + 1, {*found, *(name for name in names if name > token)})
                    if cursor == b"0":
                        break
        except OSError as error:
            raise Unavailable(str(error)) from None
        return Keys(found[:limit], found[limit - 1] if len(found) > limit else "")

    async def query(self, query: queries.Query, *, metadata: Mapping[str, str] = NO_METADATA) -> Matches:
        name = metadata.get("queryIndexName", "")
        if not self._has_json:
            raise StateError("redis-json server support is required for query capability")
        if not name:
            raise StateError("query index not found")
        if name not in self._indexes:
            raise StateError(f'query index schema "{name}" not found')
        [reply] = await self._read("", [redis_search.search(self._indexes[name], query)])
        return redis_search.matches(_checked(reply), query)

    # -- within --

    async def _make(self, server: redis.Server, index: redis_search.Index) -> None:
        """Makes an index, anew when there is one. Raises `OSError`."""
        [reply] = await server.run("", [index.create])
        if isinstance(reply, Failure) and str(reply) == "Index already exists":
            _, reply = await server.run("", [("FT.DROPINDEX", index.name), index.create])
        if isinstance(reply, Failure):
            raise OSError(f"redis store: error registering query schemas: {reply}")

    def _is_json(self, metadata: Mapping[str, str]) -> bool:
        return self._has_json and metadata.get(state.CONTENT_TYPE) == state.JSON

    async def _read(self, key: str, commands: Sequence[Command]) -> list[Reply]:
        try:
            return await self._redis.run(key, commands, may_repeat=True)
        except OSError as error:
            raise Unavailable(str(error)) from None

    async def _apply(
        self, operations: Sequence[Set | Delete], metadata: Mapping[str, str], is_trial: bool = False
    ) -> None:
        is_json = bool(metadata) and self._is_json(metadata)
        arguments: list[str | bytes] = []
        for one in operations:
            arguments += self._arguments(one, is_json or (bool(one.metadata) and self._is_json(one.metadata)))
        if is_trial:
            arguments.append("trial")
        rest = (len(operations), *(one.key for one in operations), *arguments)
        key, target, waiting = operations[0].key, self._redis, list[Command]()
        if self._strong is not None and any(one.consistency == state.STRONG for one in operations):
            target, waiting = self._strong, [("WAIT", self._replicas, _REPLICATION_MS)]
        try:
            first, *_ = await target.run(key, [("EVALSHA", _SHA, *rest), *waiting])
            if isinstance(first, Failure) and str(first).startswith("NOSCRIPT"):
                first, *_ = await target.run(key, [("EVAL", _APPLY, *rest), *waiting])
        except OSError as error:
            raise Unavailable(f"{_failed(operations[0])}: {error}") from None
        if isinstance(first, Failure):
            raise StateError(f"{_failed(operations[0])}: {first}")
        if first:
            raise _conflict(operations[first - 1])

    def _arguments(self, request: Set | Delete, is_json: bool) -> Sequence[str | bytes]:
        """What the script needs of one operation. Raises `StateError`."""
        etag = request.etag
        if isinstance(request, Delete):
            return "JD" if is_json else "D", "" if etag == "0" else etag, "", "0", ""
        etag = _version(request)
        is_first = request.concurrency == state.FIRST_WRITE
        mode = "0" if not is_first else "1" if etag else "2"
        seconds = self._ttl
        if request.metadata:
            own = state.ttl_seconds(request.metadata)
            seconds = seconds if own is None else own
        end = str(seconds) if seconds is not None and seconds > 0 else ""
        if not is_json:
            return "S", etag, request.value, mode, end
        value = request.value if request.is_json else b'"%s"' % base64.b64encode(request.value)
        return "JS", etag, b'{"data":%s}' % value, mode, end


def _version(request: Set) -> str:
    """The etag that the key must have; as in the original, 0 is none. Raises `ETagInvalid`."""
    etag = request.etag
    if not etag or request.concurrency == state.LAST_WRITE:
        return ""
    if not _NUMBER.match(etag):
        raise ETagInvalid(f"{etag!r} is no number")
    number = int(etag)
    return str(number) if number else ""


def _conflict(request: Set | Delete) -> StateError:
    if request.etag or request.concurrency == state.FIRST_WRITE:
        return ETagMismatch(_failed(request))
    return StateError(f"{_failed(request)}: it was written with first-write, so that writing needs its etag")


def _failed(request: Set | Delete) -> str:
    return f"failed to {'delete' if isinstance(request, Delete) else 'set key'} {request.key}"


def _checked(reply: Reply) -> Reply:
    if isinstance(reply, Failure):
        raise StateError(str(reply))
    return reply


def _item(value: bytes, etag: str, left: Reply) -> Item:
    """`left` are the milliseconds until its end."""
    if not isinstance(left, int) or left < 0:
        return Item(value, etag)
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + left / 1000))
    return Item(value, etag, {state.TTL_EXPIRE_TIME: end})


def _document(text: Reply, left: Reply) -> Item | None:
    """The value in a JSON document. Raises `StateError`."""
    if text is None:
        return None
    import msgspec

    try:
        entry = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        return _item(bytes(entry["data"]), bytes(entry.get("version", b"")).decode(), left)
    except (msgspec.DecodeError, KeyError) as error:
        raise StateError(f"the document cannot be read: {error}") from None
