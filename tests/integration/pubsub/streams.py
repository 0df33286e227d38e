"""A client of SubscribeTopicEventsAlpha1, by grpcio."""

import queue
from typing import Any

import grpc
from tests.integration.grpc_app import DAPR
from tests.integration.harness import LIMIT, Sidecar

from pydapr.proto.dapr.proto.runtime.v1 import appcallback_pb2, pubsub_pb2

SUCCESS, RETRY, DROP = 0, 1, 2

Request = pubsub_pb2.SubscribeTopicEventsRequestAlpha1
Response = pubsub_pb2.SubscribeTopicEventsResponseAlpha1
Event = appcallback_pb2.TopicEventRequest


class Stream:
    """A stream, opened with `first` if that is given."""

    def __init__(self, channel: Any, first: Request | None = None) -> None:
        self._requests: queue.Queue[Request | None] = queue.Queue()
        if first is not None:
            self._requests.put(first)
        method = channel.stream_stream(
            f"{DAPR}SubscribeTopicEventsAlpha1",
            request_serializer=Request.SerializeToString,
            response_deserializer=Response.FromString,
        )
        self._call = method(iter(self._requests.get, None), timeout=LIMIT)

    def receive(self) -> Response:
        """What the sidecar says next. Raises `grpc.RpcError`."""
        found: Response = next(self._call)
        return found

    def event(self) -> Event:
        return self.receive().event_message

    def greeted(self) -> "Stream":
        assert self.receive().WhichOneof("subscribe_topic_events_response_type") == "initial_response"
        return self

    def send(self, request: Request) -> None:
        self._requests.put(request)

    def say(self, event: Event, status: int = SUCCESS) -> None:
        answer = appcallback_pb2.TopicEventResponse(status=status)  # type: ignore[arg-type]
        processed = pubsub_pb2.SubscribeTopicEventsRequestProcessedAlpha1(id=event.id, status=answer)
        self.send(Request(event_processed=processed))

    def failure(self) -> tuple[str, str]:
        """Code and message of its end."""
        try:
            self.receive()
        except grpc.RpcError as error:
            return error.code().name, error.details()
        raise AssertionError("the stream goes on")

    def half_close(self) -> None:
        """Has no more to say."""
        self._requests.put(None)

    def cancel(self) -> None:
        self._call.cancel()
        self._requests.put(None)


def initial(pubsub: str = "mypub", topic: str = "orders", dead_letter: str | None = None) -> Request:
    wanted = pubsub_pb2.SubscribeTopicEventsRequestInitialAlpha1(pubsub_name=pubsub, topic=topic)
    if dead_letter is not None:
        wanted.dead_letter_topic = dead_letter
    return Request(initial_request=wanted)


def publish(sidecar: Sidecar, data: str, topic: str = "orders") -> None:
    headers = ("Content-Type: application/json",)
    answer = sidecar.call("POST", f"/v1.0/publish/mypub/{topic}", *headers, body=data.encode())
    assert answer.status == 204, answer.body
