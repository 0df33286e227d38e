"""What an app may ask of bindings, and what becomes of events."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from pydapr.app.bindings import Declined, Failed, Reply, Saved
from pydapr.app.channel import Answer as AppAnswer
from pydapr.app.channel import AppUnreachable
from pydapr.blocks.bindings import Bindings, Events, Input
from pydapr.components.bindings import (
    Answer,
    BindingError,
    Event,
    Handler,
    InputBinding,
    NotProcessed,
    OutputBinding,
    Reading,
    Request,
)
from pydapr.components.state import Set
from pydapr.errors import BindingFailed, StateStoreNotFound
from pydapr.net.body import Body
from pydapr.policy import retry
from pydapr.policy.resiliency import Names, Resiliency


class Output(OutputBinding):
    operations = ("create", "list")

    def __init__(self, *outcomes: Answer | BindingError | None) -> None:
        self.asked: list[Request] = []
        self._outcomes = list(outcomes)

    async def invoke(self, request: Request) -> Answer | None:
        self.asked.append(request)
        outcome = self._outcomes.pop(0) if self._outcomes else None
        if isinstance(outcome, BindingError):
            raise outcome
        return outcome


class Source(InputBinding):
    def __init__(self) -> None:
        self.handler: Handler | None = None
        self.ended = 0

    async def read(self, handler: Handler) -> Reading:
        self.handler = handler
        return _Reading(self)

    async def emit(self, data: bytes = b"data", **metadata: str) -> bytes:
        assert self.handler is not None
        return await self.handler(Event(data, metadata))


class _Reading(Reading):
    def __init__(self, source: Source) -> None:
        self._source = source

    async def close(self) -> None:
        self._source.ended += 1


class App:
    """Takes what it is told to, and answers in turn."""

    def __init__(self, *replies: Reply | Exception, taken: Sequence[str] = ("in",)) -> None:
        self.given: list[tuple[str, str, bytes, Mapping[str, str]]] = []
        self.asked: list[tuple[str, str, float]] = []
        self._replies, self._taken = list(replies), taken

    def described(self, name: str) -> str:
        return f"POST /{name}"

    async def takes(self, name: str, route: str, seconds: float) -> bool:
        self.asked.append((name, route, seconds))
        if name == "broken":
            raise Failed("no answer")
        return name in self._taken

    async def give(self, name: str, route: str, data: bytes, metadata: Mapping[str, str], trace: Any) -> Reply:
        self.given.append((name, route, data, metadata))
        reply = self._replies.pop(0) if self._replies else Reply()
        if isinstance(reply, Exception):
            raise reply
        return reply


class Stores:
    def __init__(self) -> None:
        self.saved: list[tuple[str, list[tuple[str, bytes]]]] = []

    async def save(self, store: str, values: Sequence[Set]) -> None:
        if store == "none":
            raise StateStoreNotFound(store)
        self.saved.append((store, [(one.key, one.value) for one in values]))


def retrying(target: str, outbound: bool) -> Resiliency:
    policies = Resiliency()
    policies.retries["again"] = retry.Retry(duration=0.0, max_retries=3)
    names, none = Names(retry="again"), Names()
    policies.add_component(target, none if outbound else names, names if outbound else none)
    return policies


def events(app: App, source: Source, **changes: Any) -> Events:
    inputs = [Input("in", source, "route", changes.pop("is_wanted", False))]
    given: dict[str, Any] = {"outputs": Bindings({}), "save": Stores().save, "seconds": 1.0, **changes}
    return Events(inputs, app, given["outputs"], given["save"], given["seconds"], given.get("policies"))


# -- output --


async def test_a_request_comes_to_its_binding() -> None:
    output = Output(Answer(b"there", {"a": "b"}))

    answer = await Bindings({"out": output}).invoke("out", Request("create", b"x", {"k": "v"}))

    assert answer == Answer(b"there", {"a": "b"})
    assert output.asked == [Request("create", b"x", {"k": "v"})]


@pytest.mark.parametrize(
    ("name", "operation", "reason"),
    [
        ("out", "", "operation field is missing from request"),
        ("nope", "create", "couldn't find output binding nope"),
        ("out", "get", "binding out does not support operation get. supported operations:create list"),
    ],
)
async def test_what_cannot_be_asked(name: str, operation: str, reason: str) -> None:
    with pytest.raises(BindingFailed) as raised:
        await Bindings({"out": Output()}).invoke(name, Request(operation))

    assert raised.value.message == f"error invoking output binding {name}: {reason}"
    assert (raised.value.status, raised.value.code) == (500, "ERR_INVOKE_OUTPUT_BINDING")


async def test_a_failure_keeps_what_the_binding_tells() -> None:
    output = Output(BindingError("not now", {"statusCode": "503"}))

    with pytest.raises(BindingFailed, match="error invoking output binding out: not now") as raised:
        await Bindings({"out": output}).invoke("out", Request("create"))

    assert raised.value.metadata == {"statusCode": "503"}


async def test_outbound_policies_hold() -> None:
    output = Output(BindingError("1"), BindingError("2"), Answer(b"at last"))

    answer = await Bindings({"out": output}, retrying("out", outbound=True)).invoke("out", Request("create"))

    assert answer == Answer(b"at last") and len(output.asked) == 3


# -- input --


async def test_an_event_goes_to_the_route_and_the_answer_back() -> None:
    app, source = App(Reply(b"thanks")), Source()
    await events(app, source).begin()

    assert await source.emit(b"news", k="v") == b"thanks"
    assert app.given == [("in", "route", b"news", {"k": "v"})]
    assert app.asked == [("in", "route", 1.0)]


async def test_nothing_is_read_that_the_app_does_not_take() -> None:
    app, source = App(taken=()), Source()

    await events(app, source).begin()

    assert source.handler is None


async def test_the_app_is_not_asked_where_the_resource_says_it() -> None:
    app, source = App(taken=()), Source()

    await events(app, source, is_wanted=True).begin()

    assert source.handler is not None and app.asked == []


async def test_a_failed_question_ends_the_beginning() -> None:
    app, broken, source = App(), Source(), Source()
    made = Events(
        [Input("broken", broken, "broken", False), Input("in", source, "in", False)],
        app,
        Bindings({}),
        Stores().save,
        1.0,
    )

    await made.begin()

    assert broken.handler is None and source.handler is None


async def test_beginning_twice_reads_once_and_pausing_ends_it() -> None:
    app, source = App(), Source()
    made = events(app, source)

    await made.begin()
    await made.begin()
    await made.pause()
    await made.pause()

    assert source.ended == 1 and len(app.asked) == 1
    with pytest.raises(NotProcessed, match="input binding is closed"):
        await source.emit()
    await made.begin()
    assert await source.emit() == b""


def declined(status: int, body: bytes = b"") -> Declined:
    return Declined(AppAnswer(status, (), Body.of(body)))


async def test_a_status_of_success_that_is_not_200_is_one_all_the_same() -> None:
    app, source = App(declined(202, b"fine")), Source()
    await events(app, source).begin()

    assert await source.emit() == b"fine"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (
            declined(404, b"nobody"),
            "fails to send binding event to http app channel, status code: 404 body: nobody",
        ),
        (AppUnreachable("refused"), "error invoking app: refused"),
    ],
)
async def test_an_event_that_the_app_does_not_take(failure: Exception, reason: str) -> None:
    source = Source()
    await events(App(failure), source).begin()

    with pytest.raises(NotProcessed) as raised:
        await source.emit()

    assert str(raised.value) == reason


async def test_inbound_policies_hold() -> None:
    app, source = App(declined(503), AppUnreachable("gone"), Reply(b"at last")), Source()
    await events(app, source, policies=retrying("in", outbound=False)).begin()

    assert await source.emit() == b"at last"
    assert len(app.given) == 3


async def test_the_answer_goes_to_other_bindings_in_turn_until_one_fails() -> None:
    first, second, third = Output(), Output(BindingError("no")), Output()
    app, source = App(Reply(b'{"a":1}', ("1", "2", "3"))), Source()
    await events(app, source, outputs=Bindings({"1": first, "2": second, "3": third})).begin()

    assert await source.emit() == b'{"a":1}'

    assert first.asked == second.asked == [Request("create", b'{"a":1}')]
    assert third.asked == []


async def test_the_answer_goes_to_other_bindings_at_once() -> None:
    first, second, third = Output(), Output(BindingError("no")), Output()
    app, source = App(Reply(b"", ("1", "2", "3"), is_parallel=True)), Source()
    await events(app, source, outputs=Bindings({"1": first, "2": second, "3": third})).begin()

    await source.emit()

    assert first.asked == second.asked == third.asked == [Request("create", b"null")]


async def test_states_of_the_answer_are_saved() -> None:
    stores, source = Stores(), Source()
    app = App(Reply(store="mine", states=(Saved("k", b"v"),)), Reply(store="none", states=(Saved("k", b"v"),)))
    await events(app, source, save=stores.save).begin()

    await source.emit()
    await source.emit()

    assert stores.saved == [("mine", [("k", b"v")])]


async def test_pausing_waits_for_readings_that_take_their_time() -> None:
    class Slow(Source):
        async def read(self, handler: Handler) -> Reading:
            return _Slow(self)

    class _Slow(_Reading):
        async def close(self) -> None:
            await asyncio.sleep(0)
            await super().close()

    source = Slow()
    made = events(App(), source)
    await made.begin()

    await made.pause()

    assert source.ended == 1


async def test_what_comes_while_a_pause_begins_is_still_taken() -> None:
    class Late(Source):
        async def read(self, handler: Handler) -> Reading:
            await super().read(handler)
            return _Late(self)

    class _Late(_Reading):
        async def close(self) -> None:
            assert await source.emit() == b""
            await super().close()

    source = Late()
    made = events(App(), source)
    await made.begin()

    await made.pause()

    assert source.ended == 1


async def test_a_pause_during_the_beginning_leaves_nothing_that_reads() -> None:
    is_asked, may_answer = asyncio.Event(), asyncio.Event()

    class Slow(Source):
        async def read(self, handler: Handler) -> Reading:
            is_asked.set()
            await may_answer.wait()
            return await super().read(handler)

    first, second = Slow(), Source()
    inputs = [Input(name, one, name, True) for name, one in (("1", first), ("2", second))]
    made = Events(inputs, App(), Bindings({}), Stores().save, 1.0)
    beginning = asyncio.ensure_future(made.begin())
    await is_asked.wait()
    pausing = asyncio.ensure_future(made.pause())
    await asyncio.sleep(0)
    may_answer.set()
    await asyncio.gather(beginning, pausing)

    assert first.ended == 1 and second.handler is None
