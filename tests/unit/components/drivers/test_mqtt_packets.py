"""MQTT 3.1.1 byte by byte, as its standard and the broker mosquitto write it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydapr.components.drivers import mqtt_packets as packets
from pydapr.components.drivers.mqtt_packets import Malformed, Packet, Publish, Reader


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (packets.connect("id", None, None, is_clean=True, keep_alive=30), "100e00044d5154540402001e00026964"),
        (
            packets.connect("id", "me", "pw", is_clean=False, keep_alive=0),
            "101600044d51545404c00000000269640002 6d6500027077",
        ),
        (packets.connect("id", "me", None, is_clean=True, keep_alive=1), "101200044d5154540482000100026964 00026d65"),
        (packets.publish("a/b", b"hi", 0, 0, is_retained=True), "31070003612f626869"),
        (packets.publish("a/b", b"hi", 1, 10, is_retained=False), "32090003612f62000a6869"),
        (packets.publish("a/b", b"", 2, 1, is_retained=False, is_again=True), "3c070003612f620001"),
        (packets.acknowledge(packets.PUBACK, 258), "40020102"),
        (packets.acknowledge(packets.PUBREC, 1), "50020001"),
        (packets.acknowledge(packets.PUBREL, 1), "62020001"),
        (packets.acknowledge(packets.PUBCOMP, 1), "70020001"),
        (packets.subscribe(3, "#", 1), "82060003000123 01"),
        (packets.unsubscribe(3, "#"), "a2050003000123"),
    ],
)
def test_packets_are_written_as_the_standard_says(made: bytes, wanted: str) -> None:
    assert made == bytes.fromhex(wanted)


@pytest.mark.parametrize("size", [0, 1, 123, 124, 16379, 16380, 2_097_147, 2_097_148])
def test_lengths_at_the_limits_of_their_bytes_are_read_as_written(size: int) -> None:
    data = packets.publish("t", bytes(size), 0, 0, is_retained=False)

    [packet] = Reader().feed(data)

    assert packets.read_publish(packet) == Publish("t", bytes(size), 0, False, 0)


@given(st.lists(st.binary(max_size=300), max_size=5), st.lists(st.integers(0, 2000), max_size=5))
def test_packets_come_out_whole_however_they_are_cut(payloads: list[bytes], cuts: list[int]) -> None:
    data = b"".join(packets.publish("t", one, 1, 7, is_retained=False) for one in payloads)
    reader, found = Reader(), list[Packet]()
    ends = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]

    for begin, end in itertools.pairwise(ends):
        found += reader.feed(data[begin:end])

    assert [packets.read_publish(one).payload for one in found] == payloads


@given(st.binary(max_size=60))
def test_whatever_comes_is_read_or_malformed(data: bytes) -> None:
    try:
        for packet in Reader().feed(data):
            packets.read_id(packet)
            packets.read_publish(packet)
    except Malformed:
        pass


@pytest.mark.parametrize("data", ["30ffffffff01", "3003000561", "36050001610001", "3003000180"])
def test_malformed_packets_are_refused(data: str) -> None:
    with pytest.raises(Malformed):
        for packet in Reader().feed(bytes.fromhex(data)):
            packets.read_publish(packet)


def test_what_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="65535"):
        packets.publish("ü" * 33_000, b"", 0, 0, is_retained=False)


@pytest.mark.parametrize(
    ("wanted", "topic", "is_match"),
    [
        ("a/b", "a/b", True), ("a/b", "a/c", False), ("a/+", "a/b", True), ("a/+", "a/b/c", False), ("a/+", "a", False),
        ("a/#", "a/b/c", True), ("a/#", "a", True), ("a/#", "ab", False), ("#", "a/b", True), ("+", "a", True),
        ("+/+", "/a", True), ("/+", "/a", True), ("+", "/a", False), ("a/+/c", "a/b/c", True), ("a/+/c", "a//c", True),
        ("#", "$SYS/a", False), ("+/a", "$SYS/a", False), ("$SYS/#", "$SYS/a", True), ("$share/g/a/+", "a/b", True),
        ("$share/g/a", "a", True), ("$share/g/a", "b", False), ("a", "A", False),
    ],
)  # fmt: skip
def test_topics_that_a_subscription_is_for(wanted: str, topic: str, is_match: bool) -> None:
    assert packets.is_match(wanted, topic) is is_match
