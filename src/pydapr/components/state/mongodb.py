"""state.mongodb keeps state in MongoDB: a document for each key (`_id`, `value`, `_etag`, `_ttl`), as the original.

A value that is JSON is kept as what it means, so that queries find what is in it; other bytes as text, or as binary
data when they are none. Transactions need a replica set (`replicaSet` among `params` or in `connectionString`).
"""

import contextlib
import datetime
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydapr import DAPR_VERSION
from pydapr.components import Seconds, Wrong, component, option, options, state
from pydapr.components.state import (
    NO_METADATA,
    Delete,
    ETagMismatch,
    Item,
    Keys,
    Match,
    Matches,
    Set,
    StateError,
    StateStore,
    Unavailable,
)
from pydapr.lib import query as queries

Document = Mapping[str, Any]

KEY, VALUE, ETAG, END = "_id", "value", "_etag", "_ttl"

_CONCERNS = frozenset({"", "local", "majority", "available", "linearizable", "snapshot"})
_WRITE_SECONDS = 5.0
_MOST, _LEAST = 2**63 - 1, -(2**63)
_PAGE = re.compile(r"[0-9]{1,18}\Z")
_COMPARISONS = {"NEQ": "$ne", "GT": "$gt", "GTE": "$gte", "LT": "$lt", "LTE": "$lte"}
_LAST = "\U0010ffff"


@options
class Options:
    connection_string: str = option("The whole address, in place of the parts below.", default="")
    host: str = option("The address of the server, such as `localhost:27017`.", default="")
    server: str = option(
        "In place of `host`, the name of a DNS record that lists the servers (`mongodb+srv`).", default=""
    )
    username: str = option("The user, as it stands in an address.", default="")
    password: str = option("The user's password, as it stands in an address.", default="")
    database_name: str = option("The database.", default="daprStore")
    collection_name: str = option("The collection of state.", default="daprCollection")
    params: str = option("Parameters of the address, with or without a question mark.", default="")
    writeconcern: str = option("Servers that must have a write: a number, or `majority`.", default="")
    readconcern: str = option(
        "What is read: `local`, `majority`, `available`, `linearizable`, `snapshot`.", default="local"
    )
    operation_timeout: Seconds = option("How long an operation may take.", default=Seconds(5.0))


@component("state.mongodb", Options)
class MongoDB(StateStore):
    features: Sequence[str] = (state.ETAG, state.QUERY_API, state.TTL, state.KEYS_LIKE)

    def __init__(self, options: Options) -> None:
        self._address = _address(options)
        self._options = options
        if options.readconcern not in _CONCERNS:
            raise Wrong(f"error in getting read concern object: readConcern {options.readconcern} not found")
        if options.writeconcern not in ("", "majority") and not options.writeconcern.isdigit():
            raise Wrong(f"error in getting write concern object: {options.writeconcern!r} is no number")
        if "replicaset=" in self._address.lower():
            self.features = (state.ETAG, state.TRANSACTIONAL, state.QUERY_API, state.TTL, state.KEYS_LIKE)
        self._client: Any = None
        self._documents: Any = None

    async def open(self) -> None:
        from pymongo import AsyncMongoClient, read_concern, write_concern  # the extra `mongodb`

        given, seconds = self._options, self._options.operation_timeout or 5.0
        servers = int(given.writeconcern) if given.writeconcern.isdigit() else given.writeconcern or 1
        try:
            with _translated():
                self._client = AsyncMongoClient(
                    self._address, appname=f"dapr-{DAPR_VERSION}", timeoutMS=int(seconds * 1000), tz_aware=True,
                    serverSelectionTimeoutMS=int(seconds * 1000),
                )  # fmt: skip
                await self._client.admin.command("ping")
                self._documents = self._client[given.database_name].get_collection(
                    given.collection_name,
                    write_concern=write_concern.WriteConcern(servers, int(_WRITE_SECONDS * 1000), True),
                    read_concern=read_concern.ReadConcern(given.readconcern or "local"),
                )
                await self._documents.create_index([(END, 1)], expireAfterSeconds=0)
        except (StateError, ValueError) as error:
            raise OSError(f"error in connecting to mongodb, host: {given.host} error: {error}") from None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def get(self, key: str, *, consistency: str = "", metadata: Mapping[str, str] = NO_METADATA) -> Item | None:
        with _translated():
            found = await self._documents.find_one({KEY: key, **_alive()})
        return None if found is None else _item(found)

    async def get_many(
        self, keys: Sequence[str], *, parallelism: int = 0, metadata: Mapping[str, str] = NO_METADATA
    ) -> Sequence[Item | StateError | None]:
        with _translated():
            found = await self._documents.find({KEY: {"$in": list(set(keys))}, **_alive()}).to_list()
        by_key = {one[KEY]: _item(one) for one in found}
        return [by_key.get(key) for key in keys]

    async def set(self, request: Set) -> None:
        with _translated():
            await self._set(request, None)

    async def delete(self, request: Delete) -> None:
        with _translated():
            await self._delete(request, None)

    async def transact(self, operations: Sequence[Set | Delete], *, metadata: Mapping[str, str] = NO_METADATA) -> None:
        from pymongo import read_concern, write_concern

        if state.TRANSACTIONAL not in self.features:
            raise StateError("using transactions with MongoDB requires connecting to a replica set")

        async def work(session: Any) -> None:
            for one in operations:
                if isinstance(one, Set):
                    await self._set(one, session)
                else:
                    await self._delete(one, session)

        with _translated():
            async with self._client.start_session() as session:
                await session.with_transaction(
                    work, read_concern.ReadConcern("snapshot"), write_concern.WriteConcern("majority")
                )

    async def query(self, query: queries.Query, *, metadata: Mapping[str, str] = NO_METADATA) -> Matches:
        begin = 0
        if query.token:
            if not _PAGE.match(query.token):
                raise StateError(f"{query.token!r} is no token of a page")
            begin = int(query.token)
        wanted = _filter(query.filter) if query.filter is not None else {}
        with _translated():
            most = query.limit and query.limit + 1
            cursor = self._documents.find({"$and": [wanted, _alive()]}, skip=begin, limit=most)
            if query.sort:
                cursor = cursor.sort([(f"{VALUE}.{one.path}", -1 if one.is_descending else 1) for one in query.sort])
            found = await cursor.to_list()
        token = str(begin + query.limit) if 0 < query.limit < len(found) else ""
        shown = found[: query.limit or None]
        return Matches([Match(one[KEY], _bytes(one.get(VALUE)), one.get(ETAG, "")) for one in shown], token)

    async def keys(self, prefix: str, *, limit: int, token: str = "") -> Keys:
        wanted: dict[str, str] = {"$gte": prefix, "$lt": prefix + _LAST}
        if token:
            wanted["$gt"] = token
        with _translated():
            cursor = self._documents.find({KEY: wanted, **_alive()}, {KEY: 1}, limit=limit + 1).sort(KEY, 1)
            found = [one[KEY] for one in await cursor.to_list()]
        return Keys(found[:limit], found[limit - 1] if len(found) > limit else "")

    # -- within --

    async def _set(self, request: Set, session: Any) -> None:
        from pymongo.errors import DuplicateKeyError

        seconds = state.ttl_seconds(request.metadata) if request.metadata else None
        end = _now() + datetime.timedelta(seconds=seconds) if seconds is not None and seconds > 0 else None
        change = {"$set": {VALUE: _kept(request), ETAG: str(uuid.uuid4()), END: end}}
        wanted: dict[str, Any] = {KEY: request.key}
        if request.etag:
            wanted |= {ETAG: request.etag, **_alive()}
        elif request.concurrency == state.FIRST_WRITE:
            wanted |= {END: {"$ne": None, "$lte": _now()}}
        try:
            await self._documents.update_one(wanted, change, upsert=True, session=session)
        except DuplicateKeyError:
            if request.etag:
                raise ETagMismatch(f"state expired or changed for key={request.key}") from None
            raise ETagMismatch("item already exists and no etag was passed") from None

    async def _delete(self, request: Delete, session: Any) -> None:
        wanted: dict[str, Any] = {KEY: request.key}
        if request.etag:
            wanted |= {ETAG: request.etag, **_alive()}
        done = await self._documents.delete_one(wanted, session=session)
        if request.etag and not done.deleted_count:
            raise ETagMismatch(f"state not exist, expired or changed for key={request.key}")


def _address(given: Options) -> str:
    if given.connection_string:
        return given.connection_string
    if not given.host and not given.server:
        raise Wrong("must set 'host' or 'server' fields in metadata")
    if given.host and given.server:
        raise Wrong("'host' or 'server' fields are mutually exclusive")
    user = f"{given.username}:{given.password}@" if given.username and given.password else ""
    params = given.params if given.params.startswith("?") or not given.params else f"?{given.params}"
    if given.server:
        return f"mongodb+srv://{user}{given.server}/{given.database_name if user else ''}{params}"
    return f"mongodb://{user}{given.host}/{given.database_name}{params}"


def _errors() -> tuple[type[Exception], ...]:
    from bson.errors import BSONError
    from pymongo.errors import PyMongoError

    return (PyMongoError, BSONError, ValueError, OverflowError, RecursionError)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Raises the library's errors as `StateError`."""
    try:
        yield
    except StateError:
        raise
    except _errors() as error:
        from pymongo.errors import AutoReconnect, ConnectionFailure, PyMongoError

        is_away = isinstance(error, ConnectionFailure | AutoReconnect) or (
            isinstance(error, PyMongoError) and error.timeout
        )
        raise (Unavailable if is_away else StateError)(str(error)) from None


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _alive() -> dict[str, Any]:
    """What is not over: the server removes it up to a minute late."""
    return {"$or": [{END: None}, {END: {"$gt": _now()}}]}


def _kept(request: Set) -> Any:
    """What stands in the document for a value."""
    if request.is_json:
        try:
            found = json.loads(request.value)
            if not isinstance(found, str) and _fits(found):
                return found
        except (ValueError, RecursionError):
            pass  # it stays text
    try:
        return request.value.decode()
    except UnicodeDecodeError:
        return request.value


def _fits(value: Any) -> bool:
    """Whether MongoDB can keep it as it is: it has no numbers beyond 64 bits, and no NUL in names."""
    if isinstance(value, bool | float | str) or value is None:
        return True
    if isinstance(value, int):
        return _LEAST <= value <= _MOST
    if isinstance(value, list):
        return all(_fits(one) for one in value)
    return all("\0" not in name and _fits(one) for name, one in value.items())


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, bytes):
        return value
    from bson import json_util

    return json_util.dumps(
        value, json_options=json_util.RELAXED_JSON_OPTIONS, ensure_ascii=False, separators=(",", ":")
    ).encode()


def _item(found: Document) -> Item:
    end = found.get(END)
    told = {state.TTL_EXPIRE_TIME: end.strftime("%Y-%m-%dT%H:%M:%SZ")} if end is not None else NO_METADATA
    return Item(_bytes(found.get(VALUE)), found.get(ETAG, ""), told)


def _filter(wanted: queries.Filter) -> Document:
    """Raises `StateError`."""
    if isinstance(wanted, queries.Combine):
        return {"$and" if wanted.operation == "AND" else "$or": [_filter(one) for one in wanted.filters]}
    path = f"{VALUE}.{wanted.path}"
    if wanted.operation == "EQ":
        return {path: {"$eq": wanted.value}}
    if wanted.operation == "IN":
        if not wanted.value:
            raise StateError(f'empty IN operator for key "{wanted.path}"')
        return {path: {"$in": list(wanted.value)}}
    if wanted.operation != "NEQ" and isinstance(wanted.value, str):
        raise StateError(f"unsupported type of value {wanted.value}; string type not permitted")
    return {path: {_COMPARISONS[wanted.operation]: wanted.value}}
