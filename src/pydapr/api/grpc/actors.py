"""Calls and state of actors over gRPC. Called by the router; asks `blocks.actors`."""

from pydapr.api.grpc import unary
from pydapr.app import paths
from pydapr.app.channel import Call
from pydapr.blocks.actors.call import Actors
from pydapr.blocks.actors.state import ActorState, refuse_reserved
from pydapr.components.state import Delete, Set
from pydapr.errors import Code, RpcError, StateOperationUnknown
from pydapr.lib.actors import Actor
from pydapr.net.body import Body
from pydapr.net.http2_server import ServerExchange
from pydapr.wire import headers as names
from pydapr.wire import invocation

API_CALL = (b"dapr-api-call", b"true")


class ActorsApi:
    """Answers the methods."""

    def __init__(self, actors: Actors, state: ActorState) -> None:
        self._actors, self._state = actors, state

    async def invoke(self, exchange: ServerExchange, data: bytes) -> bytes:
        """Calls the method of an actor. Its answer has no header fields here."""
        actor, method, body, headers = _request(data)
        await self._actors.ready()
        for what, name in (("actorType", actor.type), ("actorId", actor.id)):
            if reason := paths.wrong_name(name):
                raise RpcError(Code.INVALID_ARGUMENT, f"invalid {what}: {reason}")
        try:
            method = paths.normalize(method)
        except paths.Invalid as error:
            raise RpcError(Code.INVALID_ARGUMENT, f"invalid actor method: {error}") from None
        # Without a verb it is one of gRPC, whose metadata an app on a stream reads in the case they came in.
        call = Call(b"", method, b"", [*headers, API_CALL], Body.of(body), trace=exchange.trace)
        answer = await self._actors.invoke(actor, call)
        given = answer.body.take()
        return invocation.field(b"\x0a", given) if given else b""

    async def get_state(self, exchange: ServerExchange, data: bytes) -> bytes:
        """One value; an empty answer when there is none."""
        from pydapr.proto.dapr.proto.runtime.v1 import actors_pb2

        request = unary.decode(actors_pb2.GetActorStateRequest, data)
        item = await self._state.get(Actor(request.actor_type, request.actor_id), request.key)
        if item is None:
            return b""
        answer = actors_pb2.GetActorStateResponse(data=item.value, metadata=dict(item.metadata))
        return answer.SerializeToString()

    async def transact(self, exchange: ServerExchange, data: bytes) -> bytes:
        """Writes and removes, all or nothing."""
        from pydapr.proto.dapr.proto.runtime.v1 import actors_pb2

        request = unary.decode(actors_pb2.ExecuteActorStateTransactionRequest, data)
        refuse_reserved(request.actor_type)
        operations: list[Set | Delete] = []
        for one in request.operations:
            if one.operationType == "upsert":
                operations.append(Set(one.key, one.value.value, metadata=dict(one.metadata)))
            elif one.operationType == "delete":
                operations.append(Delete(one.key))
            else:
                raise StateOperationUnknown(one.operationType)
        await self._state.transact(Actor(request.actor_type, request.actor_id), operations)
        return b""


def _request(data: bytes) -> tuple[Actor, str, bytes, list[tuple[bytes, bytes]]]:
    """An `InvokeActorRequest`: the actor, the method, what it is given and header fields. Raises `RpcError`."""
    texts = ["", "", "", ""]
    body = b""
    headers: list[tuple[bytes, bytes]] = []
    try:
        for number, value in invocation.fields(data):
            if number in (1, 2, 3):
                texts[number] = invocation.text(value)
            elif number == 4:
                body = invocation.octets(value)
            elif number == 5:
                pair = dict(invocation.fields(invocation.octets(value)))
                key, said = invocation.octets(pair.get(1, b"")), invocation.octets(pair.get(2, b""))
                name = names.LOWER.get(key) or names.lower(key)
                headers.append((name, said))
    except invocation.Invalid as invalid:
        raise RpcError(Code.INTERNAL, f"grpc: error unmarshalling request: {invalid}") from None
    # Half of a name is none, and nobody hosts that: there is no actor with an empty id.
    actor = Actor(texts[1], texts[2]) if texts[1] and texts[2] else Actor("", "")
    return actor, texts[3], body, headers
