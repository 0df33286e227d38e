"""Calls and state of actors over HTTP. Called by the router; asks `blocks.actors`."""

from pydapr.api.http.errors import JSON
from pydapr.app import paths
from pydapr.app.channel import Call
from pydapr.blocks.actors.call import Actors
from pydapr.blocks.actors.state import ActorState, refuse_reserved
from pydapr.errors import ActorInvokeFailed, BadRequest, MalformedRequest, RpcError
from pydapr.lib import urls
from pydapr.lib.actors import Actor
from pydapr.net.body import BodyError, TooLarge
from pydapr.net.exchange import Exchange
from pydapr.wire import headers as names

PREFIX = b"/v1.0/actors/"

API_CALL = (b"dapr-api-call", b"true")
_KNOWN = 2048


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
        from pydapr.api.http import actor_bodies

        actor_type, actor_id = urls.whole(urls.segments(exchange.target, PREFIX))[:2]
        refuse_reserved(actor_type)
        try:
            body = await exchange.body.read_all(self._max_body)
        except TooLarge:
            raise MalformedRequest("failed deserializing HTTP body: http: request body too large") from None
        actor, operations = Actor(actor_type, actor_id), actor_bodies.operations(body)
        await self._state.require(actor)
        await self._state.transact(actor, [actor_bodies.made(one) for one in operations])
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
