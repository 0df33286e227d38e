"""Many events at once whose data are bytes: an app that speaks gRPC gets the bytes, and all that the event says."""

from typing import Any

import grpc
import pytest
from tests.integration import harness
from tests.integration.grpc_app import GrpcApp
from tests.integration.harness import World
from tests.integration.pubsub.test_subscriptions import resource

from pydapr.proto.dapr.proto.runtime.v1 import appcallback_pb2, pubsub_pb2


class App(GrpcApp):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[appcallback_pb2.TopicEventRequest] = []

    def _unary(self, kind: str, data: bytes, call: Any) -> bytes:
        if kind == "ListTopicSubscriptions":
            answer = appcallback_pb2.ListTopicSubscriptionsResponse()
            one = answer.subscriptions.add(pubsub_name="ps", topic="t")
            one.routes.rules.add(match='event.type == "com.dapr.event.sent"', path="/sent")
            one.routes.default = "/else"
            return answer.SerializeToString()
        if kind != "OnTopicEvent":
            return super()._unary(kind, data, call)
        self.events.append(appcallback_pb2.TopicEventRequest.FromString(data))
        return appcallback_pb2.TopicEventResponse().SerializeToString()


@pytest.mark.parametrize("broker", ["pubsub.in-memory", "pubsub.sqlite"])
def test_bytes(world: World, broker: str) -> None:
    options = {"connectionString": str(world.folder / "ps.db")} if broker == "pubsub.sqlite" else {}
    metadata = [{"name": name, "value": value} for name, value in options.items()]
    world.write("resources/ps.yaml", resource("Component", "ps", type=broker, version="v1", metadata=metadata))
    app = App()
    try:
        resources = ("--resources-path", str(world.folder / "resources"))
        sidecar = world.daprd("app", app.port, *resources, "--app-protocol", "grpc").await_ready()
        kinds = {"application/octet-stream": b"\xff\x00", "text/plain": b"text"}
        entries = [
            pubsub_pb2.BulkPublishRequestEntry(entry_id=kind, event=data, content_type=kind)
            for kind, data in kinds.items()
        ]
        request = pubsub_pb2.BulkPublishRequest(pubsub_name="ps", topic="t", entries=entries)
        with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}") as channel:
            publish = channel.unary_unary("/dapr.proto.runtime.v1.Dapr/BulkPublishEventAlpha1")
            publish(request.SerializeToString(), timeout=harness.LIMIT)
        harness.eventually(lambda: len(app.events) == 2, "two events")
        assert {event.data_content_type: event.data for event in app.events} == kinds
        assert {event.path for event in app.events} == {"/sent"}
        assert {(event.source, event.spec_version) for event in app.events} == {(sidecar.app_id, "1.0")}
    finally:
        app.close()
