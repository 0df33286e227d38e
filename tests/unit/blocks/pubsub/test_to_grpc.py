"""An event as an app that speaks gRPC gets it, and what its answers mean."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from google.protobuf import json_format

from pydapr.app.grpc import GrpcApp
from pydapr.blocks.pubsub import events, to_grpc
from pydapr.blocks.pubsub.deliver import NotTaken, NotTakenByCode, Undeliverable
from pydapr.components.pubsub import Message
from pydapr.errors import Code, RpcError
from pydapr.observe.metrics import Registry
from pydapr.observe.metrics_ingress import IngressMetrics
from pydapr.observe.tracing import Span, Tracer
from pydapr.proto.dapr.proto.runtime.v1 import appcallback_pb2 as pb

pytestmark = pytest.mark.plain  # what stands for the app is no class that compiled code knows


class App(GrpcApp):
    """Answers with a status, or fails."""

    def __init__(self, answer: "bytes | RpcError" = b"") -> None:
        super().__init__("127.0.0.1", 1, False, "", 1 << 20)
        self._answer = answer
        self.name = b""
        self.request = pb.TopicEventRequest()
        self.metadata: dict[bytes, bytes] = {}

    async def callback(
        self, name: bytes, message: bytes, metadata: Sequence[tuple[bytes, bytes]] = (), service: bytes = b""
    ) -> bytes:
        self.name, self.request = name, pb.TopicEventRequest.FromString(message)
        self.metadata = dict(metadata)
        if isinstance(self._answer, RpcError):
            raise self._answer
        return self._answer


def event(fields: dict[str, Any] | None = None, metadata: Mapping[str, str] | None = None) -> events.Event:
    made = events.Event(
        Message("t", b"", metadata or {}), "ps", "t", fields if fields is not None else {"id": "7"}, b""
    )
    made.path = "/orders"
    return made


async def give(app: App, given: events.Event | None = None, tracer: Tracer | None = None) -> tuple[bool, str]:
    registry = Registry({"app_id": "x"}, 100, [])
    try:
        taken = await to_grpc.GrpcTarget(app, IngressMetrics(registry, (1,), ""), tracer).deliver(given or event())
    finally:
        text = "".join(registry.pieces())
        assert text.count("ingress_count{") == 1
    labels = text.split("ingress_count{")[1].partition("}")[0].split(",")
    statuses = [label.split('"')[1] for label in labels if "status" in label]
    return taken, " ".join(statuses)


async def test_the_app_gets_all_fields() -> None:
    app = App()
    fields = {
        "id": "7", "source": "s", "type": "y", "specversion": "1.0", "datacontenttype": "application/json",
        "data": {"b": 1, "a": [1.5]}, "topic": "t", "mine": 3, "pubsubname": "ps",
    }  # fmt: skip
    await give(app, event(fields, {"Foo": "bar", "content-type": "x"}))
    request = app.request
    assert app.name == b"OnTopicEvent"
    assert (request.id, request.source, request.type, request.spec_version) == ("7", "s", "y", "1.0")
    assert (request.topic, request.pubsub_name, request.path) == ("t", "ps", "/orders")
    assert (request.data_content_type, request.data) == ("application/json", b'{"a":[1.5],"b":1}')
    assert json_format.MessageToDict(request.extensions) == {"topic": "t", "mine": 3, "pubsubname": "ps"}
    assert app.metadata == {b"foo": b"bar", b"pubsubname": b"ps"}


async def test_metadata_that_grpc_cannot_say_are_left_out() -> None:
    app = App()
    given = {"ok.1": "x", "ö": "x", "a!": "x", "bad": "ö", "grpc-timeout": "1S", "dapr-api-token": "x"}
    await give(app, event(metadata=given))
    assert app.metadata == {b"ok.1": b"x", b"pubsubname": b"ps"}


@pytest.mark.parametrize(
    ("kind", "fields", "data"),
    [
        ("text/plain", {"data": "hallo"}, b"hallo"),
        ("TEXT/plain; charset=utf-8", {"data": "hallo"}, b"hallo"),
        ("application/xml", {"data": "<a/>"}, b"<a/>"),
        ("application/json; charset=utf-8", {"data": "x"}, b'"x"'),
        ("application/cloudevents+json", {"data": 1}, b"1"),
        ("application/octet-stream", {"data_base64": "AP8="}, b"\x00\xff"),
        ("application/octet-stream", {"data": b"\x00"}, b"\x00"),
        ("foo/bar", {"data": "x"}, b""),
        ("application/json", {"data": None}, b""),
        ("", {}, b""),
    ],
)
async def test_data_are_said_as_their_type_says(kind: str, fields: dict[str, Any], data: bytes) -> None:
    app = App()
    await give(app, event({"datacontenttype": kind, **fields}))
    assert app.request.data == data


@pytest.mark.parametrize("fields", [{"data_base64": "%"}, {"data_base64": 5}, {"datacontenttype": "text/x", "data": 5}])
async def test_data_that_are_not_what_their_type_says_are_not_delivered(fields: dict[str, Any]) -> None:
    with pytest.raises(NotTaken):
        await give(App(), event(fields))


async def test_attributes_that_cannot_be_said_are_not_delivered() -> None:
    with pytest.raises(Undeliverable):
        await give(App(), event({"mine": 10**400}))


@pytest.mark.parametrize(("status", "outcome"), [(0, (True, "success success")), (2, (False, "drop success"))])
async def test_the_app_says_what_became_of_it(status: int, outcome: tuple[bool, str]) -> None:
    assert await give(App(b"\x08%c" % status if status else b"")) == outcome


async def test_an_app_may_want_it_again() -> None:
    with pytest.raises(NotTaken, match="RETRY status returned"):
        await give(App(b"\x08\x01"))
    with pytest.raises(NotTaken, match=r"unknown status returned .* status: 9"):
        await give(App(b"\x08\x09"))
    with pytest.raises(NotTakenByCode) as raised:
        await give(App(RpcError(Code.UNAVAILABLE, "gone")))
    assert raised.value.code == Code.UNAVAILABLE
    with pytest.raises(NotTakenByCode, match="failed to unmarshal"):
        await give(App(b"\xff"))


async def test_an_app_without_the_method_drops_it() -> None:
    assert await give(App(RpcError(Code.UNIMPLEMENTED, "what?"))) == (True, "drop drop")


async def test_a_delivery_is_part_of_the_trace_of_the_event() -> None:
    spans: list[Span] = []
    app = App(RpcError(Code.ABORTED, "no"))
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with pytest.raises(NotTakenByCode):
        await give(app, event({"traceparent": parent}), Tracer(1.0, spans.append))
    assert app.metadata[b"traceparent"][:36] == parent[:36].encode()
    assert len(app.metadata[b"grpc-trace-bin"]) == 39
    assert [span.name for span in spans] == ["pubsub/t"]
    assert spans[0].failure == "no"


async def test_no_more_events_than_allowed_are_under_way() -> None:
    most = 0

    class Counting(App):
        under_way = 0

        async def callback(
            self, name: bytes, message: bytes, metadata: Sequence[tuple[bytes, bytes]] = (), service: bytes = b""
        ) -> bytes:
            nonlocal most
            self.under_way += 1
            most = max(most, self.under_way)
            await asyncio.sleep(0)
            self.under_way -= 1
            return b""

    target = to_grpc.GrpcTarget(Counting(), turns=asyncio.Semaphore(2))
    await asyncio.gather(*(target.deliver(event()) for _ in range(6)))
    assert most == 2
