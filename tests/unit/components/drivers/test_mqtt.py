"""The MQTT client against a broker whose every packet the test decides: losses, refusals, nonsense."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from pydapr.components.drivers import mqtt
from pydapr.components.drivers import mqtt_packets as packets
from pydapr.components.drivers.mqtt_link import Link
from pydapr.components.drivers.mqtt_packets import Packet, Publish, Reader
from pydapr.net import tasks

SECONDS = 10.0
CONNECT, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT = 1, 8, 10, 12, 14
WELCOME, WELCOME_BACK = b"\x20\x02\x00\x00", b"\x20\x02\x01\x00"


class Connection:
    """One of a client with the broker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer, self._packets = reader, writer, Reader()
        self._left: list[Packet] = []

    async def packet(self) -> Packet:
        async with asyncio.timeout(SECONDS):
            while not self._left:
                data = await self._reader.read(65536)
                if not data:
                    raise ConnectionError("the client has gone")
                self._left = self._packets.feed(data)
        return self._left.pop(0)

    async def expect(self, kind: int) -> Packet:
        found = await self.packet()
        assert found.kind == kind
        return found

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def drop(self) -> None:
        self._writer.transport.abort()


class Broker:
    """Accepts connections, one after the other, and leaves the rest to the test."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[Connection] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self._all: list[Connection] = []

    async def open(self) -> mqtt.Place:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            made = Connection(reader, writer)
            self._all.append(made)
            await self.waiting.put(made)

        self._server = await asyncio.start_server(accept, "127.0.0.1", 0)
        return mqtt.place(f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}")

    async def next(self, *, has_session: bool = False) -> Connection:
        """The next connection, which is welcome."""
        made = await asyncio.wait_for(self.waiting.get(), SECONDS)
        await made.expect(CONNECT)
        made.send(WELCOME_BACK if has_session else WELCOME)
        return made

    async def close(self) -> None:
        for one in self._all:
            one.drop()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    @property
    def is_idle(self) -> bool:
        return self.waiting.empty()


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    made = Broker()
    yield made
    await made.close()


class Meeting:
    """A client that is connected to a broker of the test's."""

    def __init__(self, broker: Broker, client: mqtt.Client, first: Connection) -> None:
        self.broker, self.client, self.first = broker, client, first


@pytest.fixture
async def meeting(broker: Broker) -> AsyncIterator[Meeting]:
    client = mqtt.Client(await broker.open(), "me", is_clean=False)
    opening = asyncio.create_task(client.open())
    first = await broker.next()
    await opening
    yield Meeting(broker, client, first)
    await client.close()


class Inbox:
    """Handles messages, and refuses as many as it is told to."""

    def __init__(self, refuses: int = 0) -> None:
        self.seen: list[bytes] = []
        self.began, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()
        self._refuses = refuses

    async def __call__(self, message: Publish) -> bool:
        self.seen.append(message.payload)
        self.began.set()
        await self.go.wait()
        self._refuses -= 1
        return self._refuses < 0


async def listen(meeting: Meeting, connection: Connection, inbox: Inbox, topic: str = "t") -> mqtt.Listening:
    made = mqtt.Listening(meeting.client, topic, 1, inbox, lambda tries: 0.01)
    subscribing = asyncio.create_task(meeting.client.subscribe(made))
    await granted(connection)
    await subscribing
    return made


async def granted(connection: Connection) -> None:
    wanted = await connection.expect(SUBSCRIBE)
    connection.send(b"\x90\x03" + wanted.body[:2] + b"\x01")


async def settled(meeting: Meeting) -> None:
    """The client has seen all that was sent to it, and has answered nothing."""
    publishing = asyncio.create_task(meeting.client.publish("other", b"", 1, is_retained=False))
    sent = await meeting.first.expect(packets.PUBLISH)
    meeting.first.send(packets.acknowledge(packets.PUBACK, number(sent)))
    await asyncio.wait_for(publishing, SECONDS)


def number(packet: Packet) -> int:
    return packets.read_publish(packet).id


def coming(payload: bytes, id_: int, qos: int = 1) -> bytes:
    return packets.publish("t", payload, qos, id_, is_retained=False)


async def test_message_that_was_not_acknowledged_is_sent_again_after_a_loss(meeting: Meeting) -> None:
    publishing = asyncio.create_task(meeting.client.publish("t", b"1", 1, is_retained=False))
    first = await meeting.first.expect(packets.PUBLISH)
    meeting.first.drop()

    second = await meeting.broker.next(has_session=True)
    again = await second.expect(packets.PUBLISH)
    assert not publishing.done()
    second.send(packets.acknowledge(packets.PUBACK, number(again)))
    await publishing

    assert (first.flags & 8, again.flags & 8) == (0, 8)
    assert packets.read_publish(again).payload == b"1"


async def test_message_sent_exactly_once_goes_on_where_it_was(meeting: Meeting) -> None:
    publishing = asyncio.create_task(meeting.client.publish("t", b"1", 2, is_retained=True))
    sent = await meeting.first.expect(packets.PUBLISH)
    meeting.first.send(packets.acknowledge(packets.PUBREC, number(sent)))
    await meeting.first.expect(packets.PUBREL)
    meeting.first.drop()

    second = await meeting.broker.next(has_session=True)
    await second.expect(packets.PUBREL)
    second.send(packets.acknowledge(packets.PUBCOMP, number(sent)))

    await asyncio.wait_for(publishing, SECONDS)


async def test_message_sent_exactly_once_begins_anew_when_the_broker_has_lost_the_session(meeting: Meeting) -> None:
    publishing = asyncio.create_task(meeting.client.publish("t", b"1", 2, is_retained=False))
    sent = await meeting.first.expect(packets.PUBLISH)
    meeting.first.send(packets.acknowledge(packets.PUBREC, number(sent)))
    await meeting.first.expect(packets.PUBREL)
    meeting.first.drop()

    second = await meeting.broker.next()
    again = await second.expect(packets.PUBLISH)
    second.send(packets.acknowledge(packets.PUBREC, number(again)))
    await second.expect(packets.PUBREL)
    assert not publishing.done()
    second.send(packets.acknowledge(packets.PUBCOMP, number(again)))

    await asyncio.wait_for(publishing, SECONDS)
    assert packets.read_publish(again).payload == b"1"


async def test_message_is_acknowledged_when_it_is_handled_and_not_before(meeting: Meeting) -> None:
    inbox = Inbox(refuses=2)
    inbox.go.clear()
    listening = await listen(meeting, meeting.first, inbox)
    meeting.first.send(coming(b"1", 7))
    await settled(meeting)
    inbox.go.set()

    assert packets.read_id(await meeting.first.expect(packets.PUBACK)) == 7
    assert inbox.seen == [b"1"] * 3
    await listening.close()


async def test_message_for_exactly_once_is_received_when_it_is_handled(meeting: Meeting) -> None:
    inbox = Inbox()
    listening = await listen(meeting, meeting.first, inbox)
    meeting.first.send(coming(b"1", 7, qos=2))

    await meeting.first.expect(packets.PUBREC)
    meeting.first.send(packets.acknowledge(packets.PUBREL, 7))
    await meeting.first.expect(packets.PUBCOMP)

    assert inbox.seen == [b"1"]
    await listening.close()


async def test_message_of_a_lost_connection_is_not_acknowledged_on_another(meeting: Meeting) -> None:
    inbox = Inbox()
    inbox.go.clear()
    listening = await listen(meeting, meeting.first, inbox)
    meeting.first.send(coming(b"old", 7))
    await asyncio.wait_for(inbox.began.wait(), SECONDS)
    meeting.first.drop()

    second = await meeting.broker.next()
    await granted(second)
    inbox.go.set()
    second.send(coming(b"new", 9))

    assert packets.read_id(await second.expect(packets.PUBACK)) == 9
    await listening.close()


async def test_message_that_nobody_listens_to_waits_for_who_does(meeting: Meeting) -> None:
    first, second = Inbox(), Inbox()
    await (await listen(meeting, meeting.first, first)).close()
    meeting.first.send(coming(b"between", 3) + coming(b"lost", 0, qos=0))
    await settled(meeting)

    listening = await listen(meeting, meeting.first, second)

    assert packets.read_id(await meeting.first.expect(packets.PUBACK)) == 3
    assert (first.seen, second.seen) == ([], [b"between"])
    await listening.close()


async def test_message_that_comes_as_the_subscription_ends_is_for_the_next_one(meeting: Meeting) -> None:
    first, second = Inbox(), Inbox()
    listening = await listen(meeting, meeting.first, first)
    [packet] = Reader().feed(coming(b"late", 7))
    meeting.client.take(Link(meeting.client), packet)

    await listening.close()
    again = await listen(meeting, meeting.first, second)

    await asyncio.wait_for(second.began.wait(), SECONDS)
    assert (first.seen, second.seen) == ([], [b"late"])
    await again.close()


async def test_unsubscribing_drops_what_waswaiting(meeting: Meeting) -> None:
    listening = await listen(meeting, meeting.first, Inbox())
    await listening.close()
    meeting.first.send(coming(b"between", 3))
    await settled(meeting)

    forgetting = asyncio.create_task(meeting.client.unsubscribe("t"))

    await meeting.first.expect(packets.PUBACK)
    wanted = await meeting.first.expect(UNSUBSCRIBE)
    meeting.first.send(b"\xb0\x02" + wanted.body[:2])
    await asyncio.wait_for(forgetting, SECONDS)


async def test_nonsense_ends_the_connection_and_there_is_another(meeting: Meeting) -> None:
    inbox = Inbox()
    listening = await listen(meeting, meeting.first, inbox)
    meeting.first.send(b"\x36\x00")  # a PUBLISH of quality 3

    second = await meeting.broker.next()
    await granted(second)
    second.send(coming(b"1", 1))
    await second.expect(packets.PUBACK)

    assert inbox.seen == [b"1"]
    await listening.close()


async def test_connection_that_nobody_needs_is_not_made_again(meeting: Meeting) -> None:
    meeting.first.drop()
    await asyncio.sleep(0.3)  # longer than the first pause
    assert meeting.broker.is_idle

    publishing = asyncio.create_task(meeting.client.publish("t", b"1", 0, is_retained=False))
    second = await meeting.broker.next()
    await second.expect(packets.PUBLISH)

    await asyncio.wait_for(publishing, SECONDS)


@pytest.mark.parametrize("qos", [0, 1])
async def test_message_waits_until_a_broker_that_is_away_is_back(meeting: Meeting, qos: int) -> None:
    lost = asyncio.create_task(meeting.client.publish("t", b"0", 1, is_retained=False))
    meeting.first.drop()
    refused = await asyncio.wait_for(meeting.broker.waiting.get(), SECONDS)
    await tasks.stop((lost,))
    publishing = asyncio.create_task(meeting.client.publish("t", b"1", qos, is_retained=False))
    await asyncio.sleep(0)  # it has begun
    refused.drop()
    (await asyncio.wait_for(meeting.broker.waiting.get(), SECONDS)).drop()

    back = await meeting.broker.next()
    sent = await back.expect(packets.PUBLISH)
    back.send(packets.acknowledge(packets.PUBACK, number(sent)))

    await asyncio.wait_for(publishing, SECONDS)


async def test_subscribing_that_is_cancelled_leaves_nothing_with_the_broker(broker: Broker) -> None:
    client = mqtt.Client(await broker.open(), "me", is_clean=True)
    opening = asyncio.create_task(client.open())
    connection = await broker.next()
    await opening
    listening = mqtt.Listening(client, "t", 1, Inbox(), lambda tries: 1)
    subscribing = asyncio.create_task(client.subscribe(listening))
    await connection.expect(SUBSCRIBE)

    subscribing.cancel()

    await connection.expect(UNSUBSCRIBE)
    await asyncio.wait((subscribing,), timeout=SECONDS)
    assert subscribing.cancelled()
    await client.close()


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\x01\x00", coming(b"1", 1)])
async def test_opening_says_when_there_is_another_server(broker: Broker, said: bytes) -> None:
    client = mqtt.Client(await broker.open(), "me", is_clean=True)
    opening = asyncio.create_task(client.open())
    connection = await asyncio.wait_for(broker.waiting.get(), SECONDS)
    await connection.expect(CONNECT)
    connection.send(said)

    with pytest.raises(OSError, match="this is no broker of MQTT"):
        await asyncio.wait_for(opening, SECONDS)
    await client.close()


async def test_subscription_that_the_broker_refuses_is_an_error(meeting: Meeting) -> None:
    made = mqtt.Listening(meeting.client, "t", 1, Inbox(), lambda tries: 1)
    subscribing = asyncio.create_task(meeting.client.subscribe(made))
    wanted = await meeting.first.expect(SUBSCRIBE)
    meeting.first.send(b"\x90\x03" + wanted.body[:2] + b"\x80")

    with pytest.raises(mqtt.Failed, match="refuses the subscription to t"):
        await asyncio.wait_for(subscribing, SECONDS)


async def test_closing_fails_what_is_on_its_way(meeting: Meeting) -> None:
    publishing = asyncio.create_task(meeting.client.publish("t", b"1", 1, is_retained=False))
    await meeting.first.expect(packets.PUBLISH)

    closing = asyncio.create_task(meeting.client.close())

    with pytest.raises(mqtt.Failed, match="closed"):
        await asyncio.wait_for(publishing, SECONDS)
    await meeting.first.expect(DISCONNECT)
    await closing
    with pytest.raises(mqtt.Failed, match="closed"):
        await meeting.client.publish("t", b"1", 1, is_retained=False)


@pytest.mark.parametrize(("code", "text"), [(1, "protocol version"), (5, "not authorized"), (9, "code 9")])
async def test_refusal_ends_opening_with_its_reason(broker: Broker, code: int, text: str) -> None:
    client = mqtt.Client(await broker.open(), "me", is_clean=True)
    opening = asyncio.create_task(client.open())
    connection = await asyncio.wait_for(broker.waiting.get(), SECONDS)
    await connection.expect(CONNECT)
    connection.send(b"\x20\x02\x00" + bytes((code,)))

    with pytest.raises(OSError, match=text):
        await asyncio.wait_for(opening, SECONDS)
    await client.close()


async def test_more_messages_than_can_be_under_way_wait_with_the_broker(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "MOST_UNDER_WAY", 5)
    inbox = Inbox()
    inbox.go.clear()
    listening = await listen(meeting, meeting.first, inbox)
    for one in range(1, 40):
        meeting.first.send(coming(b"%d" % one, one))
        await asyncio.sleep(0.002)  # a packet each: what has been read is handed over

    assert len(inbox.seen) < 20
    inbox.go.set()

    found = {packets.read_id(await meeting.first.expect(packets.PUBACK)) for _ in range(1, 40)}
    assert found == set(range(1, 40))
    await listening.close()
