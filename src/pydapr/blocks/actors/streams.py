"""Actors of apps that host them over a stream of their own making, and need no port for it.

`api.grpc.actor_events` opens a session for each stream; what its actors are to do comes from `hosting` to
`StreamTarget` and goes out by `app.actor_stream`. The types of a stream are hosted while it lasts, or another one has
them. What the app has when its stream ends is answered at once: nobody will. Words and the form of metadata are the
original's (v1.18.3, `pkg/api/grpc/actorcallbacks.go`, `pkg/actors/targets/app/transport/grpc`); there one stream's end
takes a type away from another that has it, and the newest stream gets what concerns all types.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from pydapr.app.actor_stream import Connection, Connections, Disconnected, Write
from pydapr.app.channel import Answer, Call, Header
from pydapr.blocks.actors import Hosting, Moved, Target, TypeOptions
from pydapr.errors import ActorInvokeFailed, Code
from pydapr.lib.actors import Actor, Reminder
from pydapr.net.body import Body
from pydapr.observe import logging
from pydapr.policy.resiliency import Resiliency
from pydapr.policy.runner import DeadlineExceeded, Runner
from pydapr.wire import actorstreams
from pydapr.wire import headers as names

log = logging.get("dapr.runtime.actors.callbackstream")

ERROR_HEADER = (b"x-daprerrorresponseheader", b"true")
"""By this whoever has called learns that the answer is an error."""

REENTRANCY_ID = b"Dapr-Reentrancy-Id"

_OURS = frozenset({b"dapr-api-call", b"x-dapr-remote", b"traceparent", b"tracestate", b"baggage"})
"""What the sidecar adds, in the case of HTTP however the call came."""

_THEIRS = frozenset({b"dapr-caller-app-id", b"dapr-caller-namespace"})
"""What the original adds in lower case."""

_JSON = (b"content-type", b"application/json")
_KINDS = {
    actorstreams.INVOKE: "invoke",
    actorstreams.REMINDER: "reminder",
    actorstreams.TIMER: "timer",
    actorstreams.DEACTIVATE: "deactivate",
}


class AppGone(ActorInvokeFailed):
    """The app went away while it had a call: trying again may help, and may be the second time for the app."""

    status = 503
    grpc = Code.UNAVAILABLE

    def __init__(self) -> None:
        super().__init__("actor host disconnected before responding")


class StreamTarget(Target):
    """Carries what actors are to do to the app at the other end of their type's stream."""

    def __init__(self, connections: Connections, policies: Resiliency | None = None) -> None:
        self._connections, self._policies = connections, policies
        self._runner = Runner(ActorInvokeFailed)

    async def invoke(self, actor: Actor, call: Call, reentrancy_id: str) -> Answer:
        headers = metadata(call, reentrancy_id)
        data = call.body.whole()

        def write(id: bytes) -> bytes:
            return actorstreams.invoke(id, actor.type, actor.id, call.method, data, headers)

        reply = await self._ask(actor, actorstreams.INVOKE, write, call.method)
        answered = [header for header in reply.metadata if header[0] != b"content-type"]
        answered.append(_JSON)
        if reply.is_set:
            answered.append(ERROR_HEADER)
        return Answer(200, answered, Body.of(reply.data))

    async def remind(self, reminder: Reminder, reentrancy_id: str) -> bool:
        actor, data = reminder.actor, reminder.data
        packed = (data.type_url.encode(), data.value) if data is not None else None
        said = (actor.type, actor.id, reminder.name, reminder.due_time, reminder.period)
        kind = actorstreams.TIMER if reminder.is_timer else actorstreams.REMINDER

        def write(id: bytes) -> bytes:
            if reminder.is_timer:
                return actorstreams.timer(id, *said, reminder.callback, packed)
            return actorstreams.reminder(id, *said, packed)

        reply = await self._ask(actor, kind, write, "")
        return not reply.is_set

    async def deactivate(self, actor: Actor) -> None:
        connection = self._connections.find(actor.type)
        if connection is None:
            return  # whoever had the actor is not there any more, and neither is the actor

        def write(id: bytes) -> bytes:
            return actorstreams.deactivate(id, actor.type, actor.id)

        try:
            await connection.ask(write)
        except Disconnected:
            return

    async def _ask(self, actor: Actor, kind: int, write: Write, method: str) -> actorstreams.Reply:
        """The app's answer, under the policies there are once the actor has its turn."""
        if self._policies is None:
            return await self._once(actor, kind, write, method)
        definition = self._policies.actor_after_lock(actor.type, actor.id)
        if definition is None:
            return await self._once(actor, kind, write, method)
        try:
            return await self._runner.run(definition, lambda: self._once(actor, kind, write, method), _never)
        except DeadlineExceeded as error:
            raise ActorInvokeFailed(str(error)) from None

    async def _once(self, actor: Actor, kind: int, write: Write, method: str) -> actorstreams.Reply:
        connection = self._connections.find(actor.type)
        if connection is None:
            raise Moved("actor host is not connected")
        try:
            reply = await connection.ask(write)
        except Disconnected:
            raise AppGone from None
        if reply.kind == kind:
            return reply
        if reply.kind != actorstreams.FAILED:
            raise ActorInvokeFailed(f"actor host returned an unexpected response type for {_KINDS[kind]}")
        if kind == actorstreams.INVOKE and reply.code == Code.NOT_FOUND:
            raise ActorInvokeFailed(f"actor method not found: {method}")
        raise ActorInvokeFailed(f"error from actor service: {reply.message}")


def metadata(call: Call, reentrancy_id: str) -> Sequence[Header]:
    """What the app reads of a call's header fields. Their names are in the letter case of HTTP, as Go writes it; those
    of a call without a verb, which came by gRPC, stay as they are."""
    headers = call.headers if call.is_clean else names.forwardable(call.headers)
    trace = call.trace
    if trace is not None:
        headers = list(headers)
        trace.add_to(headers)
    is_rpc = not call.verb
    out = []
    for name, value in headers:
        if name == b"dapr-reentrancy-id" and reentrancy_id:
            continue
        if name in _THEIRS or (is_rpc and name not in _OURS):
            out.append((name, value))
        else:
            out.append((names.CANONICAL.get(name) or names.canonical(name), value))
    if reentrancy_id:
        out.append((REENTRANCY_ID, reentrancy_id.encode()))
    return out


def _never() -> bool:
    return False


class Session:
    """A stream, from its first moment on. `over` is done when the sidecar ends it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.types: Sequence[str] = ()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


class Streams:
    """All streams of a sidecar. `opened` hears of each: it is known what the app hosts."""

    def __init__(self, hosting: Hosting, opened: Callable[[], None], policies: Resiliency | None = None) -> None:
        self._hosting, self._opened = hosting, opened
        self._connections = Connections()
        self._target = StreamTarget(self._connections, policies)
        self._sessions: set[Session] = set()
        self._is_over = False

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A stream for as long as it lasts."""
        made = Session(self._connections.open())
        self._sessions.add(made)
        if self._is_over:
            made.end()
        try:
            yield made
        finally:
            made.connection.close()
            self._sessions.discard(made)

    def host(self, session: Session, types: Mapping[str, TypeOptions]) -> None:
        """Hosts the types that the app of a stream has."""
        if types and not self._is_over:
            log.debug(f"Registered actor callback stream (connID={session.connection.number}, entities={list(types)})")
            session.types = tuple(types)
            # Before anybody can be told that the types are here.
            self._connections.add(session.connection, session.types)
            self._hosting.register(types, self._target)
        self._opened()

    async def close(self, session: Session) -> None:
        """The app of a stream is gone, or has to go: who waits for it hears of that, and its types are not here."""
        orphans = self._connections.remove(session.connection, session.types)
        session.connection.close()
        session.types = ()
        if orphans:
            await self._hosting.unregister(orphans)

    def end(self) -> None:
        """The sidecar stops, and has no more for the apps."""
        self._is_over = True
        for session in self._sessions:
            session.end()
