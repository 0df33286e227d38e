"""Publishing over HTTP and gRPC: answers, statuses and error codes are the original's."""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from tests.integration import http_wire
from tests.integration.grpc_app import DAPR
from tests.integration.harness import World
from tests.integration.pubsub.test_subscriptions import HttpApp
from tests.integration.state.stores import component

from pydapr.proto.dapr.proto.runtime.v1 import pubsub_pb2 as pb
from pydapr.wire import details

JSON = "Content-Type: application/json"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def broker(name: str, **metadata: str) -> str:
    return component(name, "pubsub.in-memory", **metadata)


class Running:
    """A sidecar and its app, which is subscribed to the topic `t` of `ps`."""

    def __init__(self, world: World) -> None:
        self.app = HttpApp({"topic": "t", "route": "/t"}, {"topic": "a/b c", "route": "/deep"})
        scopes = {"publishingScopes": f"{world.app_id('app')}=a"}
        world.write("resources/all.yaml", broker("ps") + broker("scoped", **scopes))
        folder = str(world.folder / "resources")
        self.sidecar = world.sidecar("app", world.app(self.app.serve), "--resources-path", folder)

    def publish(self, target: str, body: bytes = b"x", *headers: str) -> http_wire.Message:
        return self.sidecar.call("POST", f"/v1.0/publish/{target}", *headers, body=body)

    def delivered(self, count: int) -> list[dict[str, Any]]:
        """The events that came since the last call, so many."""
        self.app.await_events(count)
        found = [json.loads(one.body) for one in self.app.requests]
        self.app.events.clear()
        self.app.requests.clear()
        return found


@pytest.fixture(scope="module")
def shared(shared_world: World) -> Running:
    return Running(shared_world)


@pytest.fixture
def running(shared: Running) -> Iterator[Running]:
    yield shared
    shared.sidecar.disconnect()


@pytest.fixture
def channel(running: Running) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{running.sidecar.grpc}") as made:
        yield made


def call(channel: grpc.Channel, method: str, request: Any) -> bytes:
    answer = channel.unary_unary(DAPR + method)(request.SerializeToString(), timeout=20)
    assert isinstance(answer, bytes)
    return answer


def refused(channel: grpc.Channel, method: str, request: Any) -> tuple[Any, str, list[str]]:
    """The status of a call that fails, and the types of its details."""
    with pytest.raises(grpc.RpcError) as raised:
        call(channel, method, request)
    error: Any = raised.value
    packed = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
    told = details.decode_status(packed).details if packed else []
    return error.code(), error.details(), [one.type_url.rpartition(".")[2] for one in told]


def test_an_event_reaches_who_is_subscribed(running: Running) -> None:
    answer = running.publish("ps/t?metadata.a=b", b'{"n":1}', JSON, f"traceparent: {TRACE}")

    assert (answer.status, answer.body) == (204, b"")
    [event] = running.delivered(1)
    assert (event["data"], event["datacontenttype"], event["topic"]) == ({"n": 1}, "application/json", "t")
    assert event["traceparent"].startswith(TRACE[:35])


def test_put_publishes_too_and_topics_may_have_slashes(running: Running) -> None:
    assert running.sidecar.call("PUT", "/v1.0/publish/ps/a/b+c", body=b"deep").status == 204

    running.app.await_events(1)
    assert running.app.routes == ["/deep"]
    assert running.delivered(1)[0]["topic"] == "a/b c"


def test_bytes_in_a_topic_that_are_no_text_are_replaced(running: Running) -> None:
    assert running.publish("ps/%FF").status == 204
    assert running.publish("ps/%zz").status == 400


@pytest.mark.parametrize(
    ("target", "body", "kind", "status", "code", "message"),
    [
        ("none/t", b"x", "", 404, "ERR_PUBSUB_NOT_FOUND", "pubsub none is not found"),
        ("bulk/t", b"x", "", 404, "ERR_PUBSUB_NOT_FOUND", "pubsub bulk is not found"),
        ("scoped/c", b"x", "", 403, "ERR_PUBSUB_FORBIDDEN", "topic c is not allowed for app id APP"),
        ("ps/t", b"[]", "application/cloudevents+json", 500, "ERR_PUBSUB_CLOUD_EVENTS_SER", "cannot create cloudevent"),
        (
            "ps/t?metadata.rawPayload=x",
            b"x",
            "",
            400,
            "ERR_PUBSUB_REQUEST_METADATA",
            "failed deserializing metadata. Error: rawPayload value must be a valid boolean: actual is 'x'",
        ),
        ("ps/", b"x", "", 404, "ERR_DIRECT_INVOKE", None),
        ("ps", b"x", "", 404, "ERR_DIRECT_INVOKE", None),
        (
            "ps/t",
            b"x" * (4 << 20) + b"x",
            "",
            500,
            "ERR_PUBSUB_PUBLISH_MESSAGE",
            "error when publishing to topic t in pubsub ps: stream too large",
        ),
    ],
)
def test_what_cannot_be_published(
    running: Running, target: str, body: bytes, kind: str, status: int, code: str, message: str | None
) -> None:
    answer = running.publish(target, body, f"Content-Type: {kind or 'text/plain'}")

    document = json.loads(answer.body)
    assert (answer.status, document["errorCode"]) == (status, code)
    assert message is None or document["message"] == message.replace("APP", running.sidecar.app_id)


def test_errors_tell_what_they_are_about(running: Running) -> None:
    document = json.loads(running.publish("scoped/c").body)

    text = document["message"]
    assert document["details"] == [
        {
            "@type": "type.googleapis.com/google.rpc.ResourceInfo", "description": text, "owner": "",
            "resource_name": "scoped", "resource_type": "pubsub",
        },
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo", "domain": "dapr.io",
            "metadata": {"error": text, "topic": "c"}, "reason": "DAPR_PUBSUB_FORBIDDEN",
        },
    ]  # fmt: skip


@pytest.mark.parametrize("version", ["v1.0", "v1.0-alpha1"])
def test_many_at_once(running: Running, version: str) -> None:
    body = [
        {"entryId": "1", "event": {"n": 1}, "contentType": "application/json"},
        {"entryId": "2", "event": "YWJj", "contentType": "application/octet-stream"},
        {"EntryID": "3", "Event": "text", "contenttype": "text/plain", "metadata": {"cloudevent.id": "mine"}, "x": 1},
    ]
    answer = running.sidecar.call("POST", f"/{version}/publish/bulk/ps/t", JSON, body=json.dumps(body).encode())

    assert (answer.status, answer.body) == (204, b"")
    events = running.delivered(3)
    assert [one.get("data", one.get("data_base64")) for one in events] == [{"n": 1}, "YWJj", "text"]
    assert events[2]["id"] == "mine"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "error when unmarshaling the request for topic t pubsub ps: EOF"),
        (b'[{"entryId":"1"', "error when unmarshaling the request for topic t pubsub ps: unexpected EOF"),
        (b"xx", "invalid character 'x' looking for beginning of value"),
        (b"{}", "json: cannot unmarshal object into Go value of type []http.bulkPublishMessageEntry"),
        (b"[1]", "json: cannot unmarshal number into Go value of type http.bulkPublishMessageEntry"),
        (
            b'[{"entryId":1}]',
            "json: cannot unmarshal number into Go struct field bulkPublishMessageEntry.entryId of ty",
        ),
        (b'[{"entryId":"1","event":1,"contentType":"text/plain"}]', "error: mismatch between contentType and event"),
        (b'[{"entryId":"1","event":"x"}]', "error: mismatch between contentType and event"),
        (
            b'[{"entryId":"1","event":"!!","contentType":"application/octet-stream"}]',
            "error: unable to decode base64 application/octect-stream data: illegal base64 data at input byte 0",
        ),
        (b'[{"event":"x","contentType":"text/plain"}]', "entryId is duplicated or not present for entry"),
    ],
)
def test_bodies_of_many_that_are_none(running: Running, body: bytes, text: str) -> None:
    answer = running.publish("bulk/ps/t", body, JSON)

    document = json.loads(answer.body)
    assert (answer.status, document["errorCode"]) == (400, "ERR_PUBSUB_EVENTS_SER")
    assert text in document["message"]


def test_an_empty_list_is_no_error(running: Running) -> None:
    assert running.publish("bulk/ps/t", b"[]", JSON).status == 204


def test_grpc(running: Running, channel: grpc.Channel) -> None:
    one = pb.PublishEventRequest(pubsub_name="ps", topic="t", data=b'{"n":1}', data_content_type="application/json")
    assert call(channel, "PublishEvent", one) == b""
    [event] = running.delivered(1)
    assert event["data"] == {"n": 1}

    for method in ("BulkPublishEvent", "BulkPublishEventAlpha1"):
        entries = [
            pb.BulkPublishRequestEntry(entry_id=name, event=name.encode(), content_type="text/plain") for name in "ab"
        ]
        assert call(channel, method, pb.BulkPublishRequest(pubsub_name="ps", topic="t", entries=entries)) == b""
        assert sorted(event["data"] for event in running.delivered(2)) == ["a", "b"]


@pytest.mark.parametrize(
    ("pubsub", "topic", "code", "text"),
    [
        ("", "t", grpc.StatusCode.INVALID_ARGUMENT, "pubsub name is empty"),
        ("none", "t", grpc.StatusCode.INVALID_ARGUMENT, "pubsub none is not found"),
        ("ps", "", grpc.StatusCode.INVALID_ARGUMENT, "topic is empty in pubsub ps"),
        ("scoped", "c", grpc.StatusCode.PERMISSION_DENIED, "topic c is not allowed for app id"),
    ],
)
def test_what_cannot_be_published_over_grpc(
    channel: grpc.Channel, pubsub: str, topic: str, code: Any, text: str
) -> None:
    found, message, about = refused(channel, "PublishEvent", pb.PublishEventRequest(pubsub_name=pubsub, topic=topic))

    assert found == code
    assert message.startswith(text)
    assert about == (["ErrorInfo"] if pubsub == "none" else ["ResourceInfo", "ErrorInfo"])


def test_entries_over_grpc_have_ids_of_their_own(channel: grpc.Channel) -> None:
    request = pb.BulkPublishRequest(pubsub_name="ps", topic="t", entries=[pb.BulkPublishRequestEntry(event=b"x")])

    assert refused(channel, "BulkPublishEvent", request)[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_metrics(running: Running) -> None:
    running.publish("ps/counted")
    text = running.sidecar.call("GET", "/", port=running.sidecar.metrics).body.decode()

    app = running.sidecar.app_id
    labels = f'{{app_id="{app}",component="ps",namespace="",success="true",topic="counted"}}'
    assert f"dapr_component_pubsub_egress_count{labels} 1" in text


def test_without_brokers_there_is_none(world: World) -> None:
    answer = world.sidecar().call("POST", "/v1.0/publish/ps/t", body=b"x")

    assert (answer.status, json.loads(answer.body)["errorCode"]) == (404, "ERR_PUBSUB_NOT_FOUND")
