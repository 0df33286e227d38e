"""What an HTTP app gets of a bulk, and what its answers mean."""

import asyncio
import json
from collections.abc import Mapping

import pytest

from pydapr.app.channel import Answer, AppChannel, AppUnreachable, Call
from pydapr.blocks.pubsub import bulk_http, events
from pydapr.blocks.pubsub.bulk import DROP, IGNORED, SUCCESS, Bulk, Item, Outcome, Refused
from pydapr.blocks.pubsub.deliver import NotTaken, NotTakenByCode, Undeliverable
from pydapr.components.pubsub import Entry, Message
from pydapr.net.body import Body


class Channel(AppChannel):
    def __init__(self, status: int = 200, body: bytes = b"", is_there: bool = True) -> None:
        self.status, self.body, self.is_there = status, body, is_there
        self.call: Call | None = None

    async def invoke(self, call: Call) -> Answer:
        self.call = call
        if not self.is_there:
            raise AppUnreachable("nobody listens")
        return Answer(self.status, (), Body.of(self.body))

    def close(self) -> None: ...

    def retire(self) -> None: ...


def sent(*messages: Message, is_raw: bool = False, path: str = "/route?x=1") -> Bulk:
    items = [
        Item(Entry(str(number), message), events.read(message, "mypub", "orders", is_raw), is_raw)
        for number, message in enumerate(messages)
    ]
    return Bulk("mypub", "orders", path, items)


EVENT = Message("orders", '{"id":"1","data":{"ü":1.0}}'.encode(), {"key": "value"})


def deliver(channel: Channel | None, given: Bulk) -> Mapping[str, Outcome]:
    return asyncio.run(bulk_http.BulkHttpTarget(lambda: channel).deliver(given))


def test_events_stand_in_the_envelope_as_they_came() -> None:
    data = bulk_http.envelope(sent(EVENT))
    assert '{"id":"1","data":{"ü":1.0}}'.encode() in data
    document = json.loads(data)
    assert len(document.pop("id")) == 36
    assert document == {
        "entries": [
            {
                "entryId": "0",
                "event": {"id": "1", "data": {"ü": 1.0}},
                "metadata": {"key": "value"},
                "contentType": "application/cloudevents+json",
            }
        ],
        "metadata": {"pubsubName": "mypub"},
        "pubsubname": "mypub",
        "topic": "orders",
        "type": "com.dapr.event.sent.bulk",
    }


def test_raw_payloads_are_in_base64() -> None:
    plain, told = Message("orders", b"\x00"), Message("orders", b"{}", content_type="text/plain")
    entries = json.loads(bulk_http.envelope(sent(plain, told, is_raw=True)))["entries"]
    assert [(one["event"], one["contentType"]) for one in entries] == [
        ("AA==", "application/octet-stream"),
        ("e30=", "text/plain"),
    ]


def test_a_binary_event_has_its_attributes_and_its_data_in_base64() -> None:
    message = Message("orders", b"\x00\xff", {"ce_id": "7"}, "application/octet-stream")
    (entry,) = json.loads(bulk_http.envelope(sent(message)))["entries"]
    assert entry["event"] == {"id": "7", "datacontenttype": "application/octet-stream", "data_base64": "AP8="}


def test_text_that_is_no_utf_8_does_not_spoil_the_envelope() -> None:
    (entry,) = json.loads(bulk_http.envelope(sent(Message("orders", b'{"id":"\xff"}'))))["entries"]
    assert entry["event"] == {"id": "�"}


def test_the_app_is_called_at_its_route() -> None:
    channel = Channel(body=b'{"statuses":[{"entryId":"0","status":"SUCCESS"}]}')
    assert deliver(channel, sent(EVENT)) == {"0": SUCCESS}
    assert channel.call is not None
    assert (channel.call.verb, channel.call.method, channel.call.query) == (b"POST", "route", b"x=1")
    assert list(channel.call.headers) == [(b"content-type", b"application/json"), (b"pubsubname", b"mypub")]


def test_statuses_are_read_in_any_spelling_of_their_names() -> None:
    body = b'{"Statuses":[{"ENTRYID":"0","Status":"DROP"},{"entryId":"9","status":"SUCCESS"}]}'
    assert deliver(Channel(body=body), sent(EVENT)) == {"0": DROP}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ('"RETRY"', "RETRY required while processing bulk subscribe event for entry id: 0"),
        ('""', "RETRY required while processing bulk subscribe event for entry id: 0"),
        ("null", "RETRY required while processing bulk subscribe event for entry id: 0"),
        ('"MAYBE"', "unknown status returned from app while processing bulk subscribe event 0: MAYBE"),
        ("[]", "RETRY required while processing bulk subscribe event for entry id: 0"),
        ("7", "unknown status returned from app while processing bulk subscribe event 0: 7"),
    ],
)
def test_other_statuses_mean_that_the_entry_comes_again(status: str, reason: str) -> None:
    body = f'{{"statuses":[{{"entryId":"0","status":{status}}}]}}'.encode()
    assert deliver(Channel(body=body), sent(EVENT)) == {"0": Refused(reason)}


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"statuses":[1]}', b'{"statuses":7}'])
def test_an_answer_that_says_nothing_is_a_failure_of_all(body: bytes) -> None:
    with pytest.raises(NotTaken, match="failed unmarshalling app response for bulk subscribe"):
        deliver(Channel(body=body), sent(EVENT))


@pytest.mark.parametrize("body", [b"{}", b'{"statuses":null}', b'{"statuses":[]}'])
def test_an_answer_without_statuses_speaks_of_nothing(body: bytes) -> None:
    assert deliver(Channel(body=body), sent(EVENT)) == {}


def test_an_app_without_the_route_is_not_asked_again() -> None:
    assert deliver(Channel(404), sent(EVENT)) == {"0": IGNORED}


def test_a_failure_of_the_app_has_its_status() -> None:
    with pytest.raises(NotTakenByCode) as caught:
        deliver(Channel(503), sent(EVENT))
    assert caught.value.code == 503


def test_an_app_that_is_away_has_not_taken_anything() -> None:
    with pytest.raises(NotTaken, match="nobody listens"):
        deliver(Channel(is_there=False), sent(EVENT))
    with pytest.raises(Undeliverable):
        deliver(None, sent(EVENT))
