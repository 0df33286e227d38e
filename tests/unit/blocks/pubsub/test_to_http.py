"""An event as an app that speaks HTTP gets it, and what its answers mean."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from pydapr.app.channel import Answer, AppChannel, AppUnreachable, Call
from pydapr.blocks.pubsub import events, to_http
from pydapr.blocks.pubsub.deliver import NotTaken, NotTakenByCode, Undeliverable
from pydapr.components.pubsub import Message
from pydapr.net.body import Body
from pydapr.observe.metrics import Registry
from pydapr.observe.metrics_ingress import IngressMetrics
from pydapr.observe.tracing import Span, Tracer

DATA = b'{"id":"7","topic":"t"}'
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Channel(AppChannel):
    """Answers with a status and a body, and keeps the calls."""

    def __init__(self, status: int = 200, body: bytes = b"", failure: Exception | None = None) -> None:
        self._status, self._body, self._failure = status, body, failure
        self.calls: list[Call] = []
        self.bodies: list[bytes] = []

    async def invoke(self, call: Call) -> Answer:
        self.calls.append(call)
        self.bodies.append(await call.body.read_all())
        if self._failure is not None:
            raise self._failure
        return Answer(self._status, (), Body.of(self._body))

    def close(self) -> None: ...

    def retire(self) -> None: ...


def event(data: bytes = DATA, path: str = "/orders", metadata: Mapping[str, str] | None = None) -> events.Event:
    made = events.read(Message("t", data, metadata or {}), "ps", "t", False)
    made.path = path
    return made


async def give(channel: Channel, given: events.Event | None = None, tracer: Tracer | None = None) -> tuple[bool, str]:
    """Whether the app took the event, and what was counted."""
    registry = Registry({"app_id": "x"}, 100, [])
    target = to_http.HttpTarget(lambda: channel, IngressMetrics(registry, (1,), ""), tracer)
    try:
        taken = await target.deliver(given or event())
    finally:
        text = "".join(registry.pieces())
        assert text.count("ingress_count{") == 1
    labels = text.split("ingress_count{")[1].partition("}")[0].split(",")
    statuses = [label.split('"')[1] for label in labels if "status" in label]
    return taken, " ".join(statuses)


async def test_the_app_gets_the_event_and_what_is_known_of_it() -> None:
    channel = Channel()
    given = event(
        path="/a%20b/../c?x=1",
        metadata={"Foo": "bar", "Content-Type": "x", "content-length": "5", "host": "h", "Dapr-Api-Token": "mine"},
    )
    await give(channel, given)
    [call] = channel.calls
    assert (call.verb, call.method, call.query) == (b"POST", "c", b"x=1")
    assert call.headers == [
        (b"content-type", b"application/cloudevents+json"), (b"foo", b"bar"), (b"pubsubname", b"ps"),
    ]  # fmt: skip
    assert channel.bodies == [DATA]


async def test_metadata_that_cannot_be_header_fields_are_left_out() -> None:
    channel = Channel()
    await give(channel, event(metadata={"a b": "x", "bad": "x\r\nEvil: 1", "connection": "x", "ok": " ö "}))
    assert channel.calls[0].headers == [
        (b"content-type", b"application/cloudevents+json"), (b"ok", "ö".encode()), (b"pubsubname", b"ps"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "taken", "counted"),
    [
        (b"", True, "success success"),
        (b"no JSON", True, "success success"),
        (b"[1]", True, "success success"),
        (b'{"status":""}', True, "success success"),
        (b'{"status":5}', True, "success success"),
        (b'{"status":"SUCCESS"}', True, "success success"),
        (b'{"Status":"DROP"}', False, "drop success"),
        (b'{"status":"DROP"}\n{"more":1}', False, "drop success"),
    ],
)
async def test_a_success_may_say_a_status(body: bytes, taken: bool, counted: str) -> None:
    assert await give(Channel(200, body)) == (taken, counted)


async def test_an_app_may_want_it_again() -> None:
    with pytest.raises(NotTaken, match="RETRY status returned from app while processing pub/sub event 7: retriable"):
        await give(Channel(200, b'{"status":"RETRY"}'))
    with pytest.raises(NotTaken, match=r"unknown status returned from app .* event 7, status: WHAT, err: retriable"):
        await give(Channel(204, b'{"status":"WHAT"}'))


async def test_an_app_that_does_not_know_the_route_drops_it() -> None:
    assert await give(Channel(404, b"who?")) == (False, "drop drop")


@pytest.mark.parametrize("status", [300, 400, 429, 500, 503])
async def test_other_statuses_are_for_policies(status: int) -> None:
    with pytest.raises(NotTakenByCode) as raised:
        await give(Channel(status, b"boom"))
    told = f"event 7, topic: t, body: boom. status code returned: {status}"
    assert (raised.value.code, raised.value.cause.endswith(told)) == (status, True)


async def test_an_app_that_cannot_be_reached_has_it_again() -> None:
    with pytest.raises(NotTaken, match=r"error returned from app channel .* retriable error occurred: gone"):
        await give(Channel(failure=AppUnreachable("gone")))
    with pytest.raises(Undeliverable):
        await to_http.HttpTarget(lambda: None).deliver(event())


async def test_an_answer_without_end_is_no_status() -> None:
    assert await give(Channel(200, b" " * (to_http.LARGEST_ANSWER + 1))) == (True, "success success")


async def test_metadata_tell_the_trace_only_where_the_sidecar_does_not() -> None:
    metadata = {"traceparent": PARENT, "tracestate": "a=b"}
    channel = Channel()
    await give(channel, event(metadata=metadata))
    await give(channel, event(metadata=metadata), traced([]))
    told = [(b"traceparent", PARENT.encode()), (b"tracestate", b"a=b")]
    assert [field for field in channel.calls[0].headers if field in told] == told
    assert [field for field in channel.calls[1].headers if field in told] == []
    trace = channel.calls[1].trace
    assert trace is not None
    assert trace.traceparent[:36] == PARENT[:36].encode()


def traced(spans: list[Span]) -> Tracer:
    return Tracer(1.0, spans.append)


async def test_a_delivery_is_part_of_the_trace_of_the_event() -> None:
    spans: list[Span] = []
    channel = Channel(500)
    with pytest.raises(NotTakenByCode):
        await give(channel, event(b'{"id":"7","traceparent":"%b"}' % PARENT.encode()), traced(spans))
    trace = channel.calls[0].trace
    assert trace is not None
    assert trace.traceparent[:36] == PARENT[:36].encode()
    assert trace.traceparent != PARENT.encode()
    [span] = spans
    assert (span.name, span.parent, span.failure) == (
        "pubsub/t", PARENT[36:52].encode(), "Code(500): Internal Server Error",
    )  # fmt: skip
    assert span.attributes() == [("messaging.system", "pubsub"), ("messaging.destination.name", "t")]


@pytest.mark.parametrize(("said", "has_trace"), [(b'"none"', True), (b"5", False), (b"null", False)])
async def test_what_is_no_trace_begins_one_if_it_is_text(said: bytes, has_trace: bool) -> None:
    channel = Channel()
    await give(channel, event(b'{"traceid":%b}' % said), traced([]))
    assert (channel.calls[0].trace is not None) is has_trace


async def test_a_delivery_that_is_broken_off_is_counted() -> None:
    class Slow(Channel):
        async def invoke(self, call: Call) -> Answer:
            await asyncio.get_running_loop().create_future()
            raise AssertionError

    spans: list[Span] = []
    work = asyncio.ensure_future(give(Slow(), event(b'{"traceid":""}'), traced(spans)))
    await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert [span.failure for span in spans] == ["context deadline exceeded"]


def test_paths_are_split_as_go_splits_them() -> None:
    expected: Sequence[tuple[str, tuple[str, bytes]]] = [
        ("raw", ("raw", b"")), ("", ("", b"")), ("/", ("", b"")), ("/a/./b//c?d=%20", ("a/b/c", b"d=%20")),
    ]  # fmt: skip
    assert [(path, to_http.split(path)) for path, _ in expected] == list(expected)
