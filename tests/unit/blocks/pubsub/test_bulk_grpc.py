"""What a gRPC app gets of a bulk, and what its answers mean."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import pytest

from pydapr.app import grpc as app_grpc
from pydapr.blocks.pubsub import events
from pydapr.blocks.pubsub.bulk import DROP, IGNORED, SUCCESS, Bulk, Item, Outcome, Refused
from pydapr.blocks.pubsub.bulk_grpc import BulkGrpcTarget
from pydapr.blocks.pubsub.deliver import NotTakenByCode
from pydapr.components.pubsub import Entry, Message
from pydapr.errors import Code, RpcError
from pydapr.proto.dapr.proto.runtime.v1 import appcallback_pb2

Request = appcallback_pb2.TopicEventBulkRequest
Header = tuple[bytes, bytes]


class App:
    """Answers by `answer`; `called` are the methods."""

    def __init__(self, answer: Callable[[bytes, Request], bytes]) -> None:
        self.answer = answer
        self.called: list[bytes] = []
        self.request = Request()

    async def callback(
        self, name: bytes, message: bytes, metadata: Sequence[Header] = (), service: bytes = app_grpc.CALLBACK
    ) -> bytes:
        self.called.append(service + name)
        self.request = Request.FromString(message)
        return self.answer(name, self.request)


def saying(*statuses: tuple[str, int]) -> Callable[[bytes, Request], bytes]:
    listed = [
        appcallback_pb2.TopicEventBulkResponseEntry(entry_id=name, status=status)  # type: ignore[arg-type]
        for name, status in statuses
    ]
    return lambda name, request: appcallback_pb2.TopicEventBulkResponse(statuses=listed).SerializeToString()


def failing(code: int, *only: bytes) -> Callable[[bytes, Request], bytes]:
    def answer(name: bytes, request: Request) -> bytes:
        if only and name not in only:
            return saying(("0", 0))(name, request)
        raise RpcError(code, "no")

    return answer


def deliver(app: App, *messages: Message, is_raw: bool = False) -> Mapping[str, Outcome]:
    items = [
        Item(Entry(str(number), message), events.read(message, "mypub", "orders", is_raw), is_raw)
        for number, message in enumerate(messages)
    ]
    return asyncio.run(BulkGrpcTarget(app).deliver(Bulk("mypub", "orders", "/route", items)))


EVENT = Message("orders", b'{"id":"1","datacontenttype":"application/json","data":{"a":1},"more":"x"}', {"key": "v"})


def test_events_go_out_as_messages_of_their_own() -> None:
    app = App(saying(("0", 0)))
    assert deliver(app, EVENT) == {"0": SUCCESS}
    assert app.called == [app_grpc.CALLBACK + b"OnBulkTopicEvent"]
    request = app.request
    assert (request.topic, request.pubsub_name, request.path) == ("orders", "mypub", "/route")
    assert request.type == "com.dapr.event.sent.bulk"
    assert dict(request.metadata) == {"pubsubName": "mypub"}
    (entry,) = request.entries
    assert (entry.entry_id, dict(entry.metadata)) == ("0", {"key": "v"})
    assert (entry.cloud_event.id, entry.cloud_event.data) == ("1", b'{"a":1}')
    assert entry.cloud_event.extensions["more"] == "x"


def test_raw_payloads_and_binary_data_are_bytes() -> None:
    app = App(saying(("0", 0)))
    deliver(app, Message("orders", b"\x00"), is_raw=True)
    assert app.request.entries[0].bytes == b"\x00"
    deliver(app, Message("orders", b'{"id":"1","data_base64":"AP8="}'))
    assert app.request.entries[0].cloud_event.data == b"\x00\xff"


def test_statuses_mean_what_they_mean_for_one_event() -> None:
    app = App(saying(("0", 0), ("1", 1), ("2", 2), ("3", 9), ("other", 0)))
    assert deliver(app, EVENT, EVENT, EVENT, EVENT, EVENT) == {
        "0": SUCCESS,
        "1": Refused("RETRY status returned from app while processing pub/sub event for entry id: 1"),
        "2": DROP,
        "3": Refused("unknown status returned from app while processing pub/sub event  for entry id 3: 9"),
    }


def test_an_app_may_know_the_alpha_name_only() -> None:
    app = App(failing(Code.UNIMPLEMENTED, b"OnBulkTopicEvent"))
    assert deliver(app, EVENT) == {"0": SUCCESS}
    assert app.called[1] == app_grpc.ALPHA_CALLBACK + b"OnBulkTopicEventAlpha1"


def test_an_app_that_knows_neither_is_not_asked_again() -> None:
    assert deliver(App(failing(Code.UNIMPLEMENTED)), EVENT) == {"0": IGNORED}


def test_a_failure_of_the_app_has_its_code() -> None:
    with pytest.raises(NotTakenByCode) as caught:
        deliver(App(failing(Code.ABORTED)), EVENT)
    assert caught.value.code == Code.ABORTED


def test_an_answer_that_cannot_be_read_is_a_failure_of_all() -> None:
    with pytest.raises(NotTakenByCode) as caught:
        deliver(App(lambda name, request: b"\x08\x01"), EVENT)
    assert caught.value.code == Code.INTERNAL


def test_an_event_that_cannot_be_said_in_protobuf_fails_alone() -> None:
    bad = Message("orders", b'{"id":"2","data_base64":"?"}')
    app = App(saying(("1", 0)))
    found = deliver(app, bad, EVENT)
    assert isinstance(found["0"], Refused)
    assert found["1"] == SUCCESS
    assert len(app.request.entries) == 1
