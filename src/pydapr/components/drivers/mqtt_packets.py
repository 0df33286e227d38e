"""MQTT 3.1.1 without I/O: bytes to packets and back (OASIS standard of 29 October 2014).

Used by `components.drivers.mqtt`. Only what a client sends and gets is here.
"""

from pydapr.lib.record import Record

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 2, 3, 4, 5, 6, 7
SUBACK, UNSUBACK, PINGRESP = 9, 11, 13

PING, DISCONNECT = b"\xc0\x00", b"\xe0\x00"
REFUSED = 0x80
"""In a SUBACK: no such subscription."""

MOST_TEXT, MOST_BYTES = 65535, 268_435_455
"""Bytes of a topic or name, and of a packet without its first two to five."""

_FIXED = {PUBACK: 0x40, PUBREC: 0x50, PUBREL: 0x62, PUBCOMP: 0x70}


class Malformed(ValueError):
    """Not MQTT 3.1.1; the connection cannot go on."""


class Packet(Record):
    kind: int
    flags: int
    body: bytes


class Publish(Record):
    """A message from the broker. `id` is 0 where `qos` is."""

    topic: str
    payload: bytes
    qos: int
    is_retained: bool
    id: int


class Reader:
    """Packets out of a stream of bytes."""

    def __init__(self) -> None:
        self._left = bytearray()

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that are complete now. Raises `Malformed`."""
        left = self._left
        left += data
        found: list[Packet] = []
        start = 0
        while (head := _head(left, start)) is not None:
            begin, end = head
            if end > len(left):
                break
            found.append(Packet(left[start] >> 4, left[start] & 15, bytes(left[begin:end])))
            start = end
        del left[:start]
        return found


def _head(data: bytearray, start: int) -> tuple[int, int] | None:
    """Where the packet at `start` begins after its length, and where it ends; None when that is not known yet."""
    length = 0
    for place in range(4):
        at = start + 1 + place
        if at >= len(data):
            return None
        length |= (data[at] & 127) << (7 * place)
        if not data[at] & 128:
            return at + 1, at + 1 + length
    raise Malformed("the length of a packet is malformed")


def check_begin(data: bytes) -> None:
    """Looks at the first bytes of a broker. Raises `Malformed`."""
    if data[0] >> 4 != CONNACK:
        raise Malformed("it does not begin with a CONNACK packet")


def read_connack(packet: Packet) -> tuple[int, bool]:
    """0, or the code of a refusal; and whether the broker has a session of ours. Raises `Malformed`."""
    if len(packet.body) < 2:
        raise Malformed("a CONNACK packet is malformed")
    return packet.body[1], bool(packet.body[0] & 1)


def read_publish(packet: Packet) -> Publish:
    """Raises `Malformed`."""
    body, qos = packet.body, packet.flags >> 1 & 3
    size = int.from_bytes(body[:2], "big")
    at = 2 + size
    end = at + (2 if qos else 0)
    if len(body) < end or qos > 2:
        raise Malformed("a PUBLISH packet is malformed")
    try:
        topic = body[2:at].decode()
    except UnicodeDecodeError:
        raise Malformed("the topic of a PUBLISH packet is no UTF-8") from None
    return Publish(topic, body[end:], qos, bool(packet.flags & 1), int.from_bytes(body[at:end], "big"))


def read_id(packet: Packet) -> int:
    """The id that an acknowledgement is about. Raises `Malformed`."""
    if len(packet.body) < 2:
        raise Malformed("an acknowledgement without its id")
    return int.from_bytes(packet.body[:2], "big")


def connect(client_id: str, user: str | None, password: str | None, *, is_clean: bool, keep_alive: int) -> bytes:
    flags = (2 if is_clean else 0) | (0x80 if user is not None else 0) | (0x40 if password is not None else 0)
    body = b"\x00\x04MQTT\x04" + bytes((flags,)) + keep_alive.to_bytes(2, "big") + text(client_id)
    if user is not None:
        body += text(user)
    if password is not None:
        body += text(password)
    return _packet(0x10, body)


def publish(topic: str, payload: bytes, qos: int, id_: int, *, is_retained: bool, is_again: bool = False) -> bytes:
    first = 0x30 | (8 if is_again else 0) | qos << 1 | (1 if is_retained else 0)
    return _packet(first, text(topic) + (id_.to_bytes(2, "big") if qos else b"") + payload)


def acknowledge(kind: int, id_: int) -> bytes:
    return bytes((_FIXED[kind], 2)) + id_.to_bytes(2, "big")


def subscribe(id_: int, wanted: str, qos: int) -> bytes:
    return _packet(0x82, id_.to_bytes(2, "big") + text(wanted) + bytes((qos,)))


def unsubscribe(id_: int, wanted: str) -> bytes:
    return _packet(0xA2, id_.to_bytes(2, "big") + text(wanted))


def text(value: str) -> bytes:
    """Raises `ValueError`."""
    data = value.encode()
    if len(data) > MOST_TEXT:
        raise ValueError(f"longer than the {MOST_TEXT} bytes that MQTT has room for")
    return len(data).to_bytes(2, "big") + data


def _packet(first: int, body: bytes) -> bytes:
    length = len(body)
    if length > MOST_BYTES:
        raise ValueError(f"longer than the {MOST_BYTES} bytes that MQTT has room for")
    head = bytearray((first,))
    while True:
        length, low = length >> 7, length & 127
        head.append(low | (128 if length else 0))
        if not length:
            return bytes(head) + body


def is_match(wanted: str, topic: str) -> bool:
    """Whether a message of `topic` is for who subscribed to `wanted`, which may have wildcards or be `$share/…`."""
    if wanted.startswith("$share/"):
        wanted = wanted.split("/", 2)[-1]
    if wanted == topic:
        return True
    if ("+" not in wanted and "#" not in wanted) or (topic.startswith("$") and wanted[:1] in "+#"):
        return False
    levels = topic.split("/")
    parts = wanted.split("/")
    for place, part in enumerate(parts):
        if part == "#":
            return True
        if place >= len(levels) or part not in ("+", levels[place]):
            return False
    return len(parts) == len(levels)
