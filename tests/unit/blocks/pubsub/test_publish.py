"""Publishing: who may, what the broker gets, how often it is tried, and what is told when it fails."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from pydapr.blocks.pubsub import Broker
from pydapr.blocks.pubsub.errors import (
    BulkFailed,
    EntryIdInvalid,
    Forbidden,
    MetadataInvalid,
    NameEmpty,
    NoCloudEvent,
    PublishFailed,
    PubSubNotFound,
    TopicEmpty,
)
from pydapr.blocks.pubsub.publish import Publisher
from pydapr.blocks.pubsub.scopes import Scopes
from pydapr.components.pubsub import Entry, Handler, Message, PubSub, PubSubError, Subscription
from pydapr.errors import Code, DaprError
from pydapr.observe import tracing
from pydapr.observe.metrics import Registry
from pydapr.observe.metrics_egress import EgressMetrics
from pydapr.policy.resiliency import Names, Resiliency
from pydapr.policy.retry import GRPC_CODES, HTTP_CODES, Retry, codes
from pydapr.wire.tracecontext import Trace

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Fake(PubSub):
    """A broker that refuses as many messages as `refuses` says, and those whose data are in `hates`."""

    def __init__(self, refuses: int = 0, code: Code = Code.UNAVAILABLE, hates: Sequence[bytes] = ()) -> None:
        self.got: list[Message] = []
        self.tries = 0
        self._refuses, self._code, self._hates = refuses, code, hates

    async def publish(self, message: Message) -> None:
        self.tries += 1
        if self.tries <= self._refuses or any(one in message.data for one in self._hates):
            raise PubSubError("not now, secret", self._code)
        self.got.append(message)

    async def subscribe(self, topic: str, metadata: Mapping[str, str], handler: Handler) -> Subscription:
        raise NotImplementedError


def publisher(fake: PubSub, policies: Resiliency | None = None, **options: Any) -> Publisher:
    fake.scrub = lambda text: text.replace("secret", "***")
    return Publisher("app", {"ps": Broker("ps", fake, **options)}, policies)


def publish(one: Publisher, data: bytes = b"x", kind: str = "", /, topic: str = "t", **options: Any) -> None:
    async def run() -> None:
        metadata = options.get("metadata", {})
        line = one.line("ps", topic, metadata)
        is_http = options.get("is_http", True)
        await one.publish(line, topic, data, kind, metadata, options.get("trace"), is_http=is_http)

    asyncio.run(run())


def publish_many(one: Publisher, *events: tuple[str, bytes], metadata: dict[str, str] | None = None) -> None:
    async def run() -> None:
        entries = [Entry(name, Message("t", data, {}, "text/plain")) for name, data in events]
        line = one.line("ps", "t", {})
        trace = Trace(PARENT)
        await one.publish_many(line, "t", entries, metadata or {}, trace, span="/publish", is_http=True)

    asyncio.run(run())


def retrying(grpc: str = "", http: str = "") -> Resiliency:
    made = Resiliency()
    made.retries["three"] = Retry(
        max_retries=2, duration=0.0, grpc_codes=codes(grpc, GRPC_CODES), http_codes=codes(http, HTTP_CODES)
    )
    made.add_component("ps", Names(), Names(retry="three"))
    return made


def test_the_broker_gets_an_event() -> None:
    fake = Fake()
    publish(publisher(fake), b'{"n":1}', "application/json", metadata={"a": "b"}, trace=Trace(PARENT, b"s=t"))

    [message] = fake.got
    event = json.loads(message.data)
    assert (message.topic, message.metadata, message.content_type) == ("t", {"a": "b"}, "")
    assert (event["data"], event["source"], event["topic"]) == ({"n": 1}, "app", "t")
    assert (event["traceparent"], event["tracestate"]) == (PARENT.decode(), "s=t")


def test_without_a_trace_events_say_nothing_of_one() -> None:
    fake = Fake()
    publish(publisher(fake), trace=tracing.NOTHING)

    assert json.loads(fake.got[0].data)["traceid"] == ""


@pytest.mark.parametrize("is_http", [True, False])
def test_raw_payload_goes_as_it_is(is_http: bool) -> None:
    fake = Fake()
    metadata = {"rawPayload": "T"}
    publish(publisher(fake), b"\x00raw", metadata=metadata, trace=Trace(PARENT, b"s=t"), is_http=is_http)

    trace = {} if is_http else {"traceid": PARENT.decode(), "tracestate": "s=t"}
    assert [(one.data, one.metadata) for one in fake.got] == [(b"\x00raw", {**metadata, **trace})]


@pytest.mark.parametrize("text", ["", "0", "false", "F"])
def test_what_is_not_raw(text: str) -> None:
    fake = Fake()
    publish(publisher(fake), metadata={"rawPayload": text})

    assert json.loads(fake.got[0].data)["data"] == "x"


def test_a_broker_of_a_namespace_has_its_own_topics_and_events_the_names_of_the_app() -> None:
    fake = Fake()
    publish(publisher(fake, prefix="ns1"))

    assert fake.got[0].topic == "ns1t"
    assert json.loads(fake.got[0].data)["topic"] == "t"


@pytest.mark.parametrize(
    ("name", "topic", "kind", "status", "grpc"),
    [
        ("", "t", NameEmpty, 404, Code.INVALID_ARGUMENT),
        ("other", "t", PubSubNotFound, 404, Code.INVALID_ARGUMENT),
        ("ps", "", TopicEmpty, 404, Code.INVALID_ARGUMENT),
    ],
)
def test_places_that_are_not_there(name: str, topic: str, kind: type[DaprError], status: int, grpc: Code) -> None:
    with pytest.raises(kind) as raised:
        publisher(Fake()).line(name, topic, {"a": "b"})

    error = raised.value
    assert (error.status, error.grpc) == (status, grpc)
    assert error.details is not None
    assert error.details.metadata == {"a": "b"}


def test_only_http_tells_the_metadata_of_a_broker_that_is_not_there() -> None:
    error = PubSubNotFound("x", {"a": "b"}).for_grpc()

    assert error.details is not None
    assert error.details.metadata is None


def test_what_cannot_be_published() -> None:
    one = publisher(Fake(refuses=9), scopes=Scopes(allowed=frozenset("t")))
    with pytest.raises(Forbidden, match="topic other is not allowed for app id app"):
        publish(one, topic="other")
    with pytest.raises(MetadataInvalid, match="rawPayload value must be a valid boolean: actual is 'nono'"):
        publish(one, metadata={"rawPayload": "nono"})
    with pytest.raises(NoCloudEvent, match="cannot create cloudevent"):
        publish(one, b"[]", "application/cloudevents+json")
    with pytest.raises(PublishFailed, match=r"error when publishing to topic t in pubsub ps: not now, \*\*\*"):
        publish(one)


@pytest.mark.parametrize(
    ("policies", "is_http", "tries"),
    [
        (retrying(), True, 3),
        (retrying("14"), False, 3),
        (retrying("9"), False, 1),
        (retrying(http="503"), True, 3),
        (retrying(http="500-502"), True, 1),
    ],
)
def test_policies_try_again_what_they_match(policies: Resiliency, is_http: bool, tries: int) -> None:
    fake = Fake(refuses=2)
    one = publisher(fake, policies)
    if tries == 1:
        with pytest.raises(PublishFailed):
            publish(one, is_http=is_http)
    else:
        publish(one, is_http=is_http)

    assert fake.tries == tries


def test_another_try_of_many_publishes_those_that_failed() -> None:
    fake = Fake(refuses=1)
    publish_many(publisher(fake, retrying()), ("1", b"a"), ("2", b"b"))

    assert [json.loads(one.data)["data"] for one in fake.got] == ["b", "a"]


def test_the_failed_of_many_are_told() -> None:
    with pytest.raises(BulkFailed) as raised:
        publish_many(publisher(Fake(hates=[b'"bad"'])), ("1", b"good"), ("2", b"bad"))

    assert raised.value.failed == {"2": "not now, ***"}
    assert raised.value.fault == "not now, ***"


@pytest.mark.parametrize("names", [("1", "1"), ("1", "")])
def test_entries_have_ids_of_their_own(names: tuple[str, str]) -> None:
    with pytest.raises(EntryIdInvalid):
        publish_many(publisher(Fake()), (names[0], b"a"), (names[1], b"b"))


class Holding:
    """A `Later` that holds what is to be delivered later at all."""

    def __init__(self) -> None:
        self.held: list[str] = []

    def due(self, broker: Broker, metadata: Mapping[str, str]) -> float | None:
        return 1e12 if "deliverAfter" in metadata else None

    async def hold(self, broker: Broker, message: Message) -> None:
        self.held.append(json.loads(message.data)["data"])


class Down(Fake):
    """A broker that takes no bulk the first time."""

    async def publish_many(
        self, topic: str, entries: Sequence[Entry], metadata: Mapping[str, str]
    ) -> Mapping[str, str]:
        self.tries += 1
        if self.tries == 1:
            raise PubSubError("down")
        return await super().publish_many(topic, entries, metadata)


def test_what_is_held_of_many_is_held_once_however_often_the_rest_is_tried() -> None:
    async def run() -> None:
        later = Entry("1", Message("t", b"later", {"deliverAfter": "1s"}, "text/plain"))
        now = Entry("2", Message("t", b"now", {}, "text/plain"))
        line = one.line("ps", "t", {})
        await one.publish_many(line, "t", [later, now], {}, None, span="", is_http=True)

    fake, holding = Down(), Holding()
    one = publisher(fake, retrying())
    one.later = holding
    asyncio.run(run())

    assert holding.held == ["later"]
    assert [json.loads(message.data)["data"] for message in fake.got] == ["now"]


def test_a_request_says_when_for_all_that_say_nothing() -> None:
    fake, holding = Fake(), Holding()
    one = publisher(fake)
    one.later = holding
    publish_many(one, ("1", b"a"), ("2", b"b"), metadata={"deliverAfter": "1s"})

    assert (holding.held, fake.got) == (["a", "b"], [])


def test_each_event_of_many_has_a_span_of_its_own() -> None:
    fake, spans = Fake(), list[tracing.Span]()
    one = publisher(fake)
    one.tracer = tracing.Tracer(1.0, spans.append)
    publish_many(one, ("1", b"a"), ("2", b"b"))

    told = [json.loads(message.data)["traceparent"].encode() for message in fake.got]
    assert [span.traceparent for span in spans] == told
    assert [(span.name, span.kind, span.parent) for span in spans] == [
        ("/publish", tracing.PRODUCER, PARENT[36:52])
    ] * 2
    assert all(text.startswith(PARENT[:35]) and text != PARENT for text in told)


def test_raw_payload_of_many() -> None:
    fake = Fake()
    publish_many(publisher(fake), ("1", b"a"), metadata={"rawPayload": "true"})

    assert [one.data for one in fake.got] == [b"a"]


def test_metrics() -> None:
    registry = Registry({"app_id": "app"})
    one = publisher(Fake(refuses=1))
    one.metrics = EgressMetrics(registry, (1.0, 1000.0), "ns")
    with pytest.raises(PublishFailed):
        publish(one)
    publish(one)
    publish_many(one, ("1", b"a"))

    text = registry.text()
    for block, success in (("count", "false"), ("count", "true"), ("bulk_count", "true")):
        labels = f'{{app_id="app",component="ps",namespace="ns",success="{success}",topic="t"}}'
        assert f"dapr_component_pubsub_egress_{block}{labels} 1" in text


def test_send_passes_bytes_on() -> None:
    fake = Fake()
    one = publisher(fake, scopes=Scopes(protected=frozenset({"p"})))
    asyncio.run(one.send("ps", "t", b"as it is", {"a": "b"}, "text/x"))

    assert fake.got == [Message("t", b"as it is", {"a": "b"}, "text/x")]
    with pytest.raises(Forbidden):
        asyncio.run(one.send("ps", "p", b"", {}))
