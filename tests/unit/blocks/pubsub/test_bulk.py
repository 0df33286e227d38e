"""Many messages at once: routes, outcomes of single entries, dead letters, retries, metrics."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence

import pytest

from pydapr.blocks.pubsub import Broker, bulk, routing
from pydapr.blocks.pubsub.bulk import DROP, IGNORED, SUCCESS, Bulk, BulkDelivery, Outcome, Refused
from pydapr.blocks.pubsub.deliver import Around, NotTaken
from pydapr.blocks.pubsub.events import Event
from pydapr.blocks.pubsub.subscriptions import Bulk as Bulked
from pydapr.blocks.pubsub.subscriptions import Subscribed
from pydapr.components import Seconds
from pydapr.components.pubsub import IMMEDIATE, BulkHandler, Entry, Limits, Message, Subscription
from pydapr.components.pubsub.in_memory import InMemory, Options
from pydapr.errors import Internal
from pydapr.observe import metrics
from pydapr.observe.metrics_ingress import IngressMetrics
from pydapr.policy.resiliency import Definition
from pydapr.policy.retry import Retry

EVERYTHING = (routing.Rule("/all"),)


class App:
    """Takes bulks; `answers` are what it says, call for call, the last one for ever."""

    def __init__(self, *answers: Callable[[Bulk], Mapping[str, Outcome]]) -> None:
        self.answers = list(answers)
        self.calls: list[Bulk] = []

    async def deliver(self, sent: Bulk) -> Mapping[str, Outcome]:
        self.calls.append(sent)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer(sent)

    @property
    def shown(self) -> list[tuple[str, list[str]]]:
        """Path and ids of entries, call for call."""
        return [(call.path, [item.entry.id for item in call.items]) for call in self.calls]


def each(**outcomes: Outcome) -> Callable[[Bulk], Mapping[str, Outcome]]:
    """The outcomes that are given, success for the other entries."""
    return lambda sent: {item.entry.id: outcomes.get(item.entry.id, SUCCESS) for item in sent.items}


def nothing(sent: Bulk) -> Mapping[str, Outcome]:
    return {}


def broken(sent: Bulk) -> Mapping[str, Outcome]:
    raise NotTaken("the app is away")


class Letters:
    """Publishes dead letters, if it can."""

    def __init__(self, can_publish: bool = True) -> None:
        self.can_publish = can_publish
        self.found: list[str] = []

    async def publish(self, name: str, topic: str, data: bytes, metadata: Mapping[str, str], kind: str) -> None:
        if not self.can_publish:
            raise Internal("not today")
        self.found.append(f"{topic}:{json.loads(data)['id']}" if data.startswith(b"{") else f"{topic}:raw")


class Seen:
    """Remembers ids of events for the subscriptions that ask for it."""

    def __init__(self, *ids: str) -> None:
        self.ids = set(ids)

    async def is_new(self, wanted: Subscribed, event: Event) -> bool:
        return event.fields["id"] not in self.ids

    async def delivered(self, wanted: Subscribed, event: Event) -> None:
        self.ids.add(event.fields["id"])

    async def begin(self, wanted: Subscribed, event: Event) -> bool:
        raise NotImplementedError

    def end(self, wanted: Subscribed, event: Event) -> None:
        raise NotImplementedError


def entry(name: str, **more: str) -> Entry:
    fields = {"id": name, "type": "y", "specversion": "1.0", "datacontenttype": "application/json", "data": 1, **more}
    return Entry(name, Message("orders", json.dumps(fields).encode()))


def deliver(
    app: App,
    entries: Sequence[Entry],
    letters: Letters | None = None,
    rules: tuple[routing.Rule, ...] = EVERYTHING,
    metadata: Mapping[str, str] | None = None,
    dead_letter: str = "",
    again: Retry | None = None,
    measured: IngressMetrics | None = None,
    seen: "Seen | None" = None,
) -> Mapping[str, str]:
    """What failed, and why."""

    async def run() -> Mapping[str, str]:
        broker = Broker("mypub", InMemory(Options(redeliver_interval=Seconds(0))))
        wanted = Subscribed("mypub", "orders", rules, metadata or {}, dead_letter, Bulked())
        around = Around((letters or Letters()).publish, metrics=measured, seen=seen)
        delivery = BulkDelivery(broker, wanted, app, around, 0.0)
        if again is not None:
            delivery.definition = Definition("test", retry=again)
        async with asyncio.timeout(20):
            return await delivery.deliver_many(entries)

    return asyncio.run(run())


def test_what_the_app_takes_is_done_with() -> None:
    app = App(each())
    assert deliver(app, [entry("a"), entry("b")]) == {}
    assert app.shown == [("/all", ["a", "b"])]


def test_entries_fail_one_by_one() -> None:
    app = App(each(b=Refused("RETRY required"), c=DROP, d=IGNORED))
    assert deliver(app, [entry(name) for name in "abcd"]) == {"b": "RETRY required"}


def test_an_entry_of_which_the_app_does_not_speak_has_failed() -> None:
    failed = deliver(App(nothing), [entry("a")])
    assert failed == {
        "a": "response not received, RETRY required while processing bulk subscribe event for entry id: a"
    }


def test_all_have_failed_when_the_app_is_away() -> None:
    assert deliver(App(broken), [entry("a"), entry("b")]) == {"a": "the app is away", "b": "the app is away"}


def test_each_route_is_a_call_of_its_own() -> None:
    rules = (routing.rule("event.type == 'x'", "/x"), routing.Rule("/rest"))
    app = App(each())
    assert deliver(app, [entry("a", type="x"), entry("b"), entry("c", type="x")], rules=rules) == {}
    assert app.shown == [("/x", ["a", "c"]), ("/rest", ["b"])]


def test_what_no_route_wants_and_what_has_expired_become_dead_letters_and_are_done_with() -> None:
    rules = (routing.rule("event.type == 'x'", "/x"),)
    app, letters = App(each()), Letters()
    entries = [entry("a", type="x"), entry("b"), entry("c", type="x", expiration="2020-01-01T00:00:00Z")]
    assert deliver(app, entries, letters, rules, dead_letter="dead") == {}
    assert app.shown == [("/x", ["a"])]
    assert letters.found == ["dead:b", "dead:c"]


def test_an_entry_that_is_no_event_fails_alone() -> None:
    app = App(each())
    failed = deliver(app, [Entry("bad", Message("orders", b"{")), entry("good")])
    assert list(failed) == ["bad"]
    assert app.shown == [("/all", ["good"])]


def test_what_fails_or_is_dropped_becomes_a_dead_letter() -> None:
    letters = Letters()
    app = App(each(a=Refused("no"), b=DROP, c=IGNORED))
    entries = [*(entry(name) for name in "abcd"), Entry("bad", Message("orders", b"nothing"))]
    assert deliver(app, entries, letters, dead_letter="dead") == {}
    assert sorted(letters.found) == ["dead:a", "dead:b", "dead:raw"]


def test_what_cannot_become_a_dead_letter_comes_again() -> None:
    app = App(each(a=Refused("no")))
    assert deliver(app, [entry("a"), entry("b")], Letters(can_publish=False), dead_letter="dead") == {"a": "no"}


def test_only_what_failed_is_tried_again() -> None:
    app = App(each(b=Refused("not yet"), c=Refused("not yet")), each(c=Refused("not yet")), each())
    again = Retry(is_exponential=False, duration=0.0, max_retries=5)
    assert deliver(app, [entry(name) for name in "abc"], again=again) == {}
    assert app.shown == [("/all", ["a", "b", "c"]), ("/all", ["b", "c"]), ("/all", ["c"])]


def test_when_trying_again_is_over_the_reason_is_the_last_one() -> None:
    app = App(each(b=Refused("first")), each(b=Refused("last")))
    again = Retry(is_exponential=False, duration=0.0, max_retries=1)
    assert deliver(app, [entry("a"), entry("b")], again=again) == {"b": "last"}
    assert len(app.calls) == 2


def test_raw_payloads_are_delivered_as_they_are() -> None:
    app = App(each())
    assert deliver(app, [Entry("a", Message("orders", b"\x00"))], metadata={"rawPayload": "true"}) == {}
    (item,) = app.calls[0].items
    assert item.is_raw
    assert item.entry.message.data == b"\x00"


def test_metadata_that_make_no_sense_fail_all() -> None:
    app = App(each())
    failed = deliver(app, [entry("a")], metadata={"rawPayload": "maybe"})
    assert failed == {"a": "rawPayload value must be a valid boolean: actual is 'maybe'"}
    assert app.calls == []


def test_what_was_delivered_before_is_not_delivered_again() -> None:
    app, seen = App(each(c=Refused("not yet"))), Seen("a")
    failed = deliver(app, [entry(name) for name in "abc"], metadata={"dedup": "1m"}, seen=seen)
    assert failed == {"c": "not yet"}
    assert app.shown == [("/all", ["b", "c"])]
    assert seen.ids == {"a", "b"}


def test_what_is_dropped_and_cannot_become_a_dead_letter_comes_again() -> None:
    failed = deliver(App(each(b=DROP)), [entry("a"), entry("b")], Letters(can_publish=False), dead_letter="dead")
    assert list(failed) == ["b"]
    assert "not today" in failed["b"]


def test_outcomes_are_counted() -> None:
    registry = metrics.Registry({"app_id": "x"}, 1000, [])
    measured = IngressMetrics(registry, (1, 10), "")
    app = App(each(a=Refused("no"), b=DROP))
    deliver(app, [entry(name) for name in "abcd"], dead_letter="dead", measured=measured)
    page = registry.text()
    labels = 'app_id="x",component="mypub",namespace=""'
    count = "dapr_component_pubsub_ingress_bulk_event_count{" + labels
    assert f'dapr_component_pubsub_ingress_bulk_count{{{labels},process_status="",topic="orders"}} 1' in page
    assert f'{count},process_status="SUCCESS",topic="orders"}} 2' in page
    assert f'{count},process_status="DROP",topic="orders"}} 2' in page
    assert 'process_status="RETRY"' not in page


class _Recorded(InMemory):
    """Remembers with what limits it was subscribed to."""

    limits: Limits | None = None

    async def subscribe_many(
        self, topic: str, metadata: Mapping[str, str], limits: Limits, handler: BulkHandler
    ) -> Subscription:
        self.limits = limits
        return await super().subscribe_many(topic, metadata, limits, handler)


@pytest.mark.parametrize(
    ("asked", "limits"),
    [
        (Bulked(), Limits(100, 1.0)),
        (Bulked(7, 50), Limits(7, 0.05)),
        (Bulked(-1, -1), Limits(100, 1.0)),
    ],
)
def test_limits_are_those_of_the_subscription_or_the_originals(asked: Bulked, limits: Limits) -> None:
    async def run() -> None:
        made = _Recorded(Options(redeliver_interval=Seconds(0)))
        made.features = (IMMEDIATE,)
        broker = Broker("mypub", made)
        wanted = Subscribed("mypub", "orders", EVERYTHING, bulk=asked)
        delivery = BulkDelivery(broker, wanted, App(each()), Around(Letters().publish), 0.0)
        subscription = await delivery.subscribe(broker)
        assert made.limits == limits
        await delivery.close(subscription)

    asyncio.run(run())


def test_closing_delivers_what_has_been_gathered() -> None:
    async def run() -> None:
        app = App(each())
        made = InMemory(Options(redeliver_interval=Seconds(0)))
        broker = Broker("mypub", made)
        wanted = Subscribed("mypub", "orders", EVERYTHING, bulk=Bulked(10, 3_600_000))
        delivery = BulkDelivery(broker, wanted, app, Around(Letters().publish), 0.0)
        subscription = await delivery.subscribe(broker)
        await made.publish(entry("a").message)
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            await delivery.close(subscription)
        assert [[item.event.fields["id"] for item in call.items] for call in app.calls] == [["a"]]

    asyncio.run(run())


def test_a_bulk_says_of_which_broker_it_is() -> None:
    sent = Bulk("mypub", "orders", "/all", ())
    assert sent.metadata == {"pubsubName": "mypub"}
    assert bulk.KIND == "com.dapr.event.sent.bulk"


def test_a_fault_of_ours_gives_all_back() -> None:
    def faulty(sent: Bulk) -> Mapping[str, Outcome]:
        raise KeyError("x")

    assert list(deliver(App(faulty), [entry("a"), entry("b")])) == ["a", "b"]


class _Bringing(Subscription):
    """Has one bulk under way; cancelling its end cancels that, as the contract says."""

    def __init__(self, under_way: "asyncio.Task[Mapping[str, str]]") -> None:
        self._under_way = under_way

    async def close(self) -> None:
        try:
            await asyncio.wait((self._under_way,))
        finally:
            self._under_way.cancel()


@pytest.mark.parametrize(("answer", "is_done"), [(each(), True), (each(b=Refused("no")), False), (broken, False)])
def test_what_fails_during_the_end_stays_with_the_broker(
    answer: Callable[[Bulk], Mapping[str, Outcome]], is_done: bool
) -> None:
    async def run() -> None:
        letters, gate, has_begun = Letters(), asyncio.Event(), asyncio.Event()

        class Held(App):
            async def deliver(self, sent: Bulk) -> Mapping[str, Outcome]:
                has_begun.set()
                await gate.wait()
                return await super().deliver(sent)

        broker = Broker("mypub", InMemory(Options(redeliver_interval=Seconds(0))))
        wanted = Subscribed("mypub", "orders", EVERYTHING, dead_letter="dead", bulk=Bulked())
        delivery = BulkDelivery(broker, wanted, Held(answer), Around(letters.publish), 0.0)
        given = asyncio.ensure_future(delivery.deliver_many([entry("a"), entry("b")]))
        await has_begun.wait()
        ending = asyncio.ensure_future(delivery.close(_Bringing(given)))
        await asyncio.sleep(0)
        gate.set()
        async with asyncio.timeout(10):
            await ending
        await asyncio.wait((given,))
        assert given.cancelled() is not is_done
        assert letters.found == []

    asyncio.run(run())


def test_what_failed_during_the_end_comes_to_the_next_subscription() -> None:
    async def run() -> None:
        made = InMemory(Options(redeliver_interval=Seconds(0)))
        gate, has_begun, has_come = asyncio.Event(), asyncio.Event(), asyncio.Event()
        broker = Broker("mypub", made)
        wanted = Subscribed("mypub", "orders", EVERYTHING, bulk=Bulked(1))

        class Failing(App):
            async def deliver(self, sent: Bulk) -> Mapping[str, Outcome]:
                has_begun.set()
                await gate.wait()
                raise NotTaken("the app is going")

        class Taking(App):
            async def deliver(self, sent: Bulk) -> Mapping[str, Outcome]:
                has_come.set()
                return each()(sent)

        first = BulkDelivery(broker, wanted, Failing(), Around(Letters().publish), 0.0)
        subscription = await first.subscribe(broker)
        async with asyncio.timeout(20):
            await made.publish(entry("a").message)
            await has_begun.wait()
            ending = asyncio.ensure_future(first.close(subscription))
            await asyncio.sleep(0)
            gate.set()
            await ending
            second = BulkDelivery(broker, wanted, Taking(), Around(Letters().publish), 0.0)
            subscription = await second.subscribe(broker)
            await has_come.wait()
            await second.close(subscription)

    asyncio.run(run())
