"""Actors of an app on a stream: what it is asked, what its answers mean, and what becomes of both when it goes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest

from pydapr.app.actor_stream import Connection
from pydapr.app.channel import Answer, Call
from pydapr.blocks.actors import Hosting, Moved, Reentrancy, Target, TypeOptions
from pydapr.blocks.actors.streams import AppGone, Session, Streams, metadata
from pydapr.errors import ActorInvokeFailed, Code
from pydapr.lib.actors import Actor, Reminder
from pydapr.net.body import Body
from pydapr.policy import resiliency
from pydapr.proto.dapr.proto.runtime.v1 import actors_pb2
from pydapr.wire import actorstreams

CAT = Actor("Cat", "c1")
OPTIONS = TypeOptions(60.0, 2.0, True, Reentrancy())

Response = actors_pb2.SubscribeActorEventsResponseAlpha1
Request = actors_pb2.SubscribeActorEventsRequestAlpha1


class Hosts(Hosting):
    """Knows what was registered, and with whom."""

    def __init__(self) -> None:
        self.targets: dict[str, Target] = {}
        self.gone: list[str] = []

    def types(self) -> Sequence[str]:
        return sorted(self.targets)

    async def halt(self, stays: Callable[[Actor], bool]) -> None: ...

    def drain(self, actor_type: str) -> float:
        return 0

    def register(self, types: Mapping[str, TypeOptions], target: Target) -> None:
        self.targets |= dict.fromkeys(types, target)

    async def unregister(self, types: Sequence[str]) -> None:
        for name in types:
            await self.targets.pop(name).deactivate(Actor(name, "1"))
            self.gone.append(name)


class World:
    def __init__(self, policies: resiliency.Resiliency | None = None) -> None:
        self.hosts = Hosts()
        self.told = 0
        self.opened = contextlib.ExitStack()
        self.streams = Streams(self.hosts, self._told, policies)

    def _told(self) -> None:
        self.told += 1

    def open(self, *types: str) -> Session:
        """A stream whose app has these types."""
        session = self.opened.enter_context(self.streams.session())
        self.streams.host(session, dict.fromkeys(types, OPTIONS))
        session.connection.greet(actorstreams.GREETING)
        return session

    @property
    def cats(self) -> Target:
        return self.hosts.targets["Cat"]


async def asked(connection: Connection) -> Response:
    """What the app is asked next, after the greeting."""
    while True:
        message = Response.FromString(await connection.outgoing())
        if message.WhichOneof("response_type") != "initial_response":
            return message


def answer(connection: Connection, request: Request) -> None:
    reply = actorstreams.reply(request.SerializeToString())
    assert reply is not None
    connection.answered(reply)


def failed(id: str, code: int = 2) -> Request:
    return Request(request_failed=actors_pb2.SubscribeActorEventsRequestFailedAlpha1(id=id, code=code, message="no"))


def invoked(id: str, **more: object) -> Request:
    return Request(invoke_response=actors_pb2.SubscribeActorEventsRequestInvokeResponseAlpha1(id=id, **more))  # type: ignore[arg-type]


def call(*headers: tuple[bytes, bytes], verb: bytes = b"POST", data: bytes = b"data") -> Call:
    return Call(verb, "meow", b"", headers, Body.of(data))


def lived(work: Callable[[World], Awaitable[None]], policies: resiliency.Resiliency | None = None) -> None:
    async def live() -> None:
        world = World(policies)
        with world.opened:
            async with asyncio.timeout(10):
                await work(world)

    asyncio.run(live())


async def _under_way(world: World, session: Session, call: Call) -> "tuple[asyncio.Task[Answer], Response]":
    task = asyncio.ensure_future(world.cats.invoke(CAT, call, ""))
    return task, await asked(session.connection)


def test_a_call_goes_to_the_app_and_its_answer_comes_back() -> None:
    async def work(world: World) -> None:
        session = world.open("Cat")
        task, request = await _under_way(world, session, call((b"x-one", b"1")))
        wanted = request.invoke_request
        assert (wanted.actor_type, wanted.actor_id, wanted.method, wanted.data) == ("Cat", "c1", "meow", b"data")
        assert dict(wanted.metadata) == {"X-One": "1"}
        answer(
            session.connection, invoked(wanted.id, data=b"purr", metadata={"X-Two": "2", "Content-Type": "text/plain"})
        )
        got = await task
        assert (got.status, got.body.whole()) == (200, b"purr")
        assert got.headers == [(b"x-two", b"2"), (b"content-type", b"application/json")]
        assert world.told == 1

    lived(work)


def test_an_error_of_the_actor_is_an_answer_that_says_so() -> None:
    async def work(world: World) -> None:
        session = world.open("Cat")
        task, request = await _under_way(world, session, call())
        answer(session.connection, invoked(request.invoke_request.id, data=b"bad", error=True))
        got = await task
        assert got.body.whole() == b"bad"
        assert (b"x-daprerrorresponseheader", b"true") in got.headers

    lived(work)


@pytest.mark.parametrize(
    ("code", "reason"), [(5, "actor method not found: meow"), (13, "error from actor service: no")]
)
def test_what_fails_in_the_app_is_told(code: int, reason: str) -> None:
    async def work(world: World) -> None:
        session = world.open("Cat")
        task, request = await _under_way(world, session, call())
        answer(session.connection, failed(request.invoke_request.id, code))
        with pytest.raises(ActorInvokeFailed) as failure:
            await task
        assert failure.value.message == f"error invoke actor method: {reason}"

    lived(work)


def test_an_answer_of_another_kind_is_none() -> None:
    async def work(world: World) -> None:
        session = world.open("Cat")
        task, request = await _under_way(world, session, call())
        done = actors_pb2.SubscribeActorEventsRequestDeactivateResponseAlpha1(id=request.invoke_request.id)
        answer(session.connection, Request(deactivate_response=done))
        with pytest.raises(ActorInvokeFailed, match="actor host returned an unexpected response type for invoke"):
            await task

    lived(work)


@pytest.mark.parametrize("is_timer", [True, False])
def test_reminders_and_timers_go_to_the_app_which_may_cancel_them(is_timer: bool) -> None:
    async def work(world: World) -> None:
        session = world.open("Cat")
        due = Reminder(CAT, "eat", None, "1s", "2s", "onEat", is_timer=is_timer)
        for cancel in (False, True):
            task = asyncio.ensure_future(world.cats.remind(due, ""))
            request = await asked(session.connection)
            wanted = request.timer_request if is_timer else request.reminder_request
            assert (wanted.name, wanted.due_time, wanted.period) == ("eat", "1s", "2s")
            told = actors_pb2.SubscribeActorEventsRequestReminderResponseAlpha1(id=wanted.id, cancel=cancel)
            answer(session.connection, Request(timer_response=told) if is_timer else Request(reminder_response=told))
            assert await task is not cancel

    lived(work)


def test_nothing_goes_out_before_the_greeting() -> None:
    async def work(world: World) -> None:
        connection = Connection(1)
        task = asyncio.ensure_future(connection.ask(lambda id: b"question " + id))
        first = asyncio.ensure_future(connection.outgoing())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not first.done()
        connection.greet(b"greeting")
        assert await first == b"greeting"
        assert await connection.outgoing() == b"question 1"
        task.cancel()

    lived(work)


def test_who_waits_no_more_is_not_asked_for() -> None:
    async def work(world: World) -> None:
        session = world.open("Cat")
        given_up = asyncio.ensure_future(world.cats.invoke(CAT, call(data=b"first"), ""))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait((given_up,))
        task, request = await _under_way(world, session, call(data=b"second"))
        assert request.invoke_request.data == b"second"
        answer(session.connection, invoked("1"))  # nobody waits for that
        answer(session.connection, invoked(request.invoke_request.id))
        await task

    lived(work)


def test_the_end_of_a_stream_fails_what_it_has_at_once() -> None:
    async def work(world: World) -> None:
        session = world.open("Cat")
        cats = world.cats
        task, _ = await _under_way(world, session, call())
        unsent = asyncio.ensure_future(cats.invoke(CAT, call(), ""))
        await asyncio.sleep(0)
        await world.streams.close(session)
        for lost in (task, unsent):
            with pytest.raises(AppGone, match="actor host disconnected before responding") as failure:
                await lost
            assert (failure.value.grpc, failure.value.status) == (Code.UNAVAILABLE, 503)
        assert world.hosts.gone == ["Cat"]
        with pytest.raises(Moved):
            await cats.invoke(CAT, call(), "")

    lived(work)


def test_a_type_stays_while_another_stream_has_it() -> None:
    async def work(world: World) -> None:
        old, new = world.open("Cat", "Dog"), world.open("Cat")
        task, request = await _under_way(world, new, call())
        answer(new.connection, invoked(request.invoke_request.id))
        await task
        await world.streams.close(old)
        assert world.hosts.gone == ["Dog"]
        await world.streams.close(new)
        assert world.hosts.gone == ["Dog", "Cat"]

    lived(work)


def test_an_old_stream_finishes_what_it_has_while_a_new_one_gets_the_rest() -> None:
    async def work(world: World) -> None:
        old = world.open("Cat")
        first, wanted = await _under_way(world, old, call(data=b"first"))
        new = world.open("Cat")
        second, also_wanted = await _under_way(world, new, call(data=b"second"))
        answer(new.connection, invoked(also_wanted.invoke_request.id, data=b"2"))
        answer(old.connection, invoked(wanted.invoke_request.id, data=b"1"))
        assert ((await first).body.whole(), (await second).body.whole()) == (b"1", b"2")

    lived(work)


def test_each_type_goes_to_the_stream_that_has_it() -> None:
    async def work(world: World) -> None:
        cats, dogs = world.open("Cat"), world.open("Dog")
        task, request = await _under_way(world, cats, call())
        answer(cats.connection, invoked(request.invoke_request.id))
        await task
        assert dogs.connection is not cats.connection

    lived(work)


def test_a_policy_bounds_how_long_the_app_may_take() -> None:
    policies = resiliency.Resiliency()
    policies.timeouts["fast"] = 0.01
    policies.add_actor("Cat", resiliency.Names(timeout="fast"), 10)

    async def work(world: World) -> None:
        world.open("Cat")
        with pytest.raises(ActorInvokeFailed, match="context deadline exceeded"):
            await world.cats.invoke(CAT, call(), "")

    lived(work, policies)


def test_the_end_of_the_sidecar_ends_all_streams() -> None:
    async def work(world: World) -> None:
        with world.streams.session() as session:
            world.streams.end()
            assert session.over.done()
        with world.streams.session() as late:
            assert late.over.done()
            world.streams.host(late, {"Cat": OPTIONS})
            assert world.hosts.targets == {}

    lived(work)


def test_metadata_have_the_letter_case_of_http_and_those_of_grpc_their_own() -> None:
    headers = ((b"content-type", b"a"), (b"dapr-api-call", b"true"), (b"dapr-caller-app-id", b"app"), (b"te", b"x"))
    assert metadata(call(*headers), "") == [
        (b"Content-Type", b"a"),
        (b"Dapr-Api-Call", b"true"),
        (b"dapr-caller-app-id", b"app"),
    ]
    assert metadata(call((b"content-type", b"a"), (b"dapr-api-call", b"true"), verb=b""), "") == [
        (b"content-type", b"a"),
        (b"Dapr-Api-Call", b"true"),
    ]
    assert metadata(call((b"dapr-reentrancy-id", b"1")), "1") == [(b"Dapr-Reentrancy-Id", b"1")]
