"""Calls and state of actors over HTTP. Called by the router; asks `blocks.actors`."""

from typing import TypeVar

import msgspec

from pydapr.api.http.errors import JSON
from pydapr.app import paths
from pydapr.app.channel import Call
from pydapr.blocks.actors import Actor
from pydapr.blocks.actors.call import Actors
from pydapr.blocks.actors.state import ActorState, refuse_reserved
from pydapr.components.state import NO_METADATA, Delete, Set
from pydapr.errors import ActorInvokeFailed, ActorStateSaveFailed, BadRequest, MalformedRequest, RpcError
from pydapr.lib import urls
from pydapr.net.body import BodyError, TooLarge
from pydapr.net.exchange import Exchange
from pydapr.wire import headers as names

PREFIX = b"/v1.0/actors/"

API_CALL = (b"dapr-api-call", b"true")
_KNOWN = 2048
_T = TypeVar("_T")


class ActorsApi:
    """Answers calls of actors, and what is asked of their state. `max_body` bounds the bodies of requests."""

    def __init__(self, actors: Actors, state: ActorState, max_body: int) -> None:
        self._actors, self._state, self._max_body = actors, state, max_body
        self._known: dict[bytes, tuple[Actor, str]] = {}

    async def call(self, exchange: Exchange) -> None:
        """Calls the method of an actor, which answers with 200 or not at all."""
        path, _, query = exchange.target.partition(b"?")
        known = self._known.get(path)
        if known is None:
            await self._actors.ready()  # whatever is wrong with the names, without actors that comes first
            known = _named(path)
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[path] = known
        body = exchange.body
        if not body.is_whole or (self._max_body > 0 and body.buffered > self._max_body):
            try:
                body = body.of(await body.read_all(self._max_body))
            except TooLarge:
                raise BadRequest("failed to read body: http: request body too large") from None
        trace = exchange.trace
        if trace is not None and trace.record is not None:
            trace.record.called_actor(known[0].type, known[0].id, known[1])
        call = Call(exchange.method, known[1], query, [*exchange.headers, API_CALL], body, trace=trace)
        try:
            answer = await self._actors.invoke(known[0], call)
        except RpcError as error:
            raise ActorInvokeFailed(str(error)) from None
        except BodyError as broken:
            raise ActorInvokeFailed(str(broken)) from None
        headers = answer.headers
        if names.first(headers, b"content-type") is None:
            headers = [*headers, *JSON]
        exchange.respond(answer.status, headers, answer.body.take())

    async def get_state(self, exchange: Exchange) -> None:
        """One value as it was written."""
        actor_type, actor_id, _, key = urls.whole(urls.segments(exchange.target, PREFIX))
        item = await self._state.get(Actor(actor_type, actor_id), key)
        if item is None or not item.value:
            exchange.respond(204, ())
            return
        told = [*JSON]
        for field, value in item.metadata.items():
            told.append((b"metadata." + field.lower().encode("latin-1", "replace"), value.encode("latin-1", "replace")))
        exchange.respond(200, told, item.value)

    async def transact(self, exchange: Exchange) -> None:
        """Writes and removes, all or nothing."""
        actor_type, actor_id = urls.whole(urls.segments(exchange.target, PREFIX))[:2]
        refuse_reserved(actor_type)
        try:
            body = await exchange.body.read_all(self._max_body)
        except TooLarge:
            raise MalformedRequest("failed deserializing HTTP body: http: request body too large") from None
        actor, operations = Actor(actor_type, actor_id), _operations(body)
        await self._state.require(actor)
        await self._state.transact(actor, [_made(one) for one in operations])
        exchange.respond(204, ())


def _named(path: bytes) -> tuple[Actor, str]:
    """The actor and the method that a path names. Raises `BadRequest`, `ValueError`."""
    actor_type, actor_id, _, method = urls.whole(urls.segments(path, PREFIX))
    for what, name in (("actorType", actor_type), ("actorId", actor_id)):
        if reason := paths.wrong_name(name):
            raise BadRequest(f"invalid {what}: {reason}")
    try:
        return Actor(actor_type, actor_id), paths.normalize(method)
    except paths.Invalid as error:
        raise BadRequest(str(error)) from None


# -- the body of a transaction --


_NULL = msgspec.Raw(b"null")


class _Request(msgspec.Struct):
    key: str | None = None
    value: msgspec.Raw = _NULL
    etag: str | None = None
    metadata: dict[str, str] | None = None


class _Operation(msgspec.Struct):
    operation: str | None = None
    request: msgspec.Raw = _NULL


_Fields = dict[str, msgspec.Raw]
_read = msgspec.json.Decoder(list[_Fields | None] | None).decode
_read_fields = msgspec.json.Decoder(_Fields).decode


def _operations(body: bytes) -> list[_Operation]:
    try:
        return [_named_as_go(_Operation, fields or {}) for fields in _read(body) or ()]
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = "EOF" if not body.strip() else str(error)
        raise MalformedRequest(f"failed deserializing HTTP body: {reason}") from None


def _named_as_go(kind: type[_T], fields: _Fields) -> _T:
    """The names without regard to case, as Go has them."""
    return msgspec.convert({name.lower(): _value(name.lower(), raw) for name, raw in fields.items()}, kind)


def _value(name: str, raw: msgspec.Raw) -> object:
    return raw if name in ("request", "value") else msgspec.json.decode(raw)


def _made(one: _Operation) -> Set | Delete:
    if bytes(one.request) == b"null":
        raise ActorStateSaveFailed("request data is empty")
    if not one.operation:
        raise ActorStateSaveFailed("operation is empty")
    if one.operation not in ("upsert", "delete"):
        raise ActorStateSaveFailed(f"operation type {one.operation} not supported")
    try:
        request = _named_as_go(_Request, _read_fields(one.request))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ActorStateSaveFailed(str(error)) from None
    if one.operation == "delete":
        return Delete(request.key or "", etag=request.etag or "")
    return Set(
        request.key or "",
        bytes(request.value),
        is_json=True,
        etag=request.etag or "",
        metadata=request.metadata or NO_METADATA,
    )
