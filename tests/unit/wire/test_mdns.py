"""The packets of mDNS, the original's among them as recorded."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydapr.wire.mdns import (
    Announcement,
    Malformed,
    Sidecar,
    decode_name,
    encode_name,
    query,
    record,
    response,
    sidecars,
)

# daprd v1.18.3 --app-id origapp on host "vm" with process id 21820, as recorded
ORIGINAL_ANNOUNCES = bytes.fromhex(
    "00008000000000050000000008766d3a3231383230076f726967617070056c6f63616c000021800100000c8000100000000025f1"
    "02766d056c6f63616c00c00c0010800100000c800008076f726967617070c015000c000100000c800002c00c095f736572766963"
    "6573075f646e732d7364045f756470c01d000c000100000c800002c015c03400018001000000780004c0000202"
)
ORIGINAL_LEAVES = bytes.fromhex(
    "00008000000000050000000008766d3a3231383230076f726967617070056c6f63616c00002180010000000000100000000025f1"
    "02766d056c6f63616c0008766d3a3231383230076f726967617070056c6f63616c0000108001000000000008076f726967617070"
    "076f726967617070056c6f63616c00000c000100000000001808766d3a3231383230076f726967617070056c6f63616c00095f73"
    "65727669636573075f646e732d7364045f756470056c6f63616c00000c000100000000000f076f726967617070056c6f63616c00"
    "02766d056c6f63616c0000018001000000000004c0000202"
)


def announcement(
    app_id: str, address: str = "10.0.0.1:50002", *, namespace: str = "default", machine: str = "vm", pid: int = 7
) -> Announcement:
    host, _, port = address.rpartition(":")
    packed = ipaddress.ip_address(host.strip("[]")).packed
    return Announcement(app_id, namespace, packed, int(port), machine, pid)


def test_the_originals_announcement_is_read() -> None:
    assert sidecars(ORIGINAL_ANNOUNCES, "origapp") == [Sidecar("vm:21820.origapp.local", "192.0.2.2:9713", None)]


def test_the_originals_goodbye_is_read() -> None:
    assert sidecars(ORIGINAL_LEAVES, "origapp") == [Sidecar("vm:21820.origapp.local", None, None)]


def test_an_app_id_that_ends_another_is_not_taken_for_it() -> None:
    assert sidecars(ORIGINAL_ANNOUNCES, "app") == []
    assert sidecars(announcement("my.app").message, "app") == []


@pytest.mark.parametrize("address", ["10.0.0.1:50002", "127.0.0.1:1", "[fd00::2]:65535"])
def test_what_we_announce_we_read(address: str) -> None:
    shop = announcement("shop", address, namespace="north")

    (here,) = sidecars(shop.message, "shop")
    assert here == Sidecar(here.name, address, "north")
    assert sidecars(shop.goodbye, "shop") == [Sidecar(here.name, None, None)]


def test_sidecars_of_one_name_and_process_number_differ_by_their_address() -> None:
    names = {
        sidecars(announcement("shop", address, pid=1).message, "shop")[0].name
        for address in ("10.0.0.1:50002", "10.0.0.2:50002", "10.0.0.1:50003", "[fd00::2]:50002")
    }

    assert len(names) == 4
    assert all(name.startswith("vm:1:") for name in names)


def test_the_longest_names_fit() -> None:
    longest = announcement("x" * 63, "[fd00::2]:65535", machine="h" * 40, pid=4194304)

    assert sidecars(longest.message, "x" * 63)[0].address == "[fd00::2]:65535"


@pytest.mark.parametrize("app_id", ["", "a..b", "x" * 64])
def test_an_app_id_that_is_no_dns_name_is_refused(app_id: str) -> None:
    with pytest.raises(ValueError, match="does not fit into a DNS name"):
        announcement(app_id)


def test_the_whole_answer_follows_a_question_for_us_and_nothing_one_for_others() -> None:
    shop = announcement("shop")
    for_one = query("shop.local")[:-2] + struct.pack("!H", 0x8001)

    assert shop.answer(query("shop.local")) == (shop.message, False)
    assert shop.answer(for_one) == (shop.message, True)
    assert shop.answer(query("vm:7:0a000001c352.shop.local")) == (shop.message, False)
    assert shop.answer(query("cart.local")) is None
    assert shop.answer(query("Shop.local")) is None


def test_we_are_in_the_list_of_services() -> None:
    shop = announcement("shop")

    answer = shop.answer(query("_services._dns-sd._udp.local"))

    assert answer is not None
    assert encode_name("shop.local") in answer[0]


def test_a_question_for_something_below_us_is_not_ours() -> None:
    assert announcement("shop").answer(query("printer.shop.local")) is None


def test_an_answer_that_repeats_the_question_is_read() -> None:
    message = announcement("shop").message
    repeated = message[:4] + b"\0\1" + message[6:12] + query("shop.local")[12:] + message[12:]

    assert sidecars(repeated, "shop") == sidecars(message, "shop") != []


def test_a_message_cut_short_anywhere_is_malformed() -> None:
    for end in range(12, len(ORIGINAL_ANNOUNCES)):
        with pytest.raises(Malformed):
            sidecars(ORIGINAL_ANNOUNCES[:end], "origapp")


@pytest.mark.parametrize("name", [b"\xc0\x0c", b"\x01a\xc0\x0c", b"\xc0\x0e\xc0\x0c", b"\x80a"])
def test_a_pointer_that_does_not_lead_backwards_is_malformed(name: bytes) -> None:
    with pytest.raises(Malformed):
        decode_name(bytes(12) + name + b"\0", 12)


def test_texts_without_the_app_id_first_belong_to_something_else() -> None:
    name = "vm:1.shop.local"
    message = response(
        record(name, 33, 1, 9, struct.pack("!3H", 0, 0, 1) + encode_name("vm.local")),
        record(name, 16, 1, 9, b"\x05other\x04shop"),
        record("vm.local", 1, 1, 9, bytes((10, 0, 0, 1))),
    )

    assert sidecars(message, "shop") == []


@pytest.mark.parametrize(
    ("packed", "host"),
    [
        ("20010db8000000000000000000000001", "2001:db8::1"),
        ("00000000000000000000000000000001", "::1"),
        ("00000000000000000000ffff0a000001", "::ffff:10.0.0.1"),
        ("0000000000000000000000000a000001", "::10.0.0.1"),
    ],
)
def test_an_ipv6_address_is_written_as_the_system_writes_it(packed: str, host: str) -> None:
    message = Announcement("shop", "default", bytes.fromhex(packed), 5, "vm", 7).message

    assert [found.address for found in sidecars(message, "shop")] == [f"[{host}]:5"]


def _decoded(data: bytes, at: int, known: dict[int, str] | None) -> tuple[str, int] | None:
    try:
        return decode_name(data, at, known)
    except (Malformed, IndexError, UnicodeDecodeError):
        return None


@given(
    st.lists(
        st.one_of(
            st.sampled_from([b"\x01a", b"\x02bc", b"\0", b"\xff"]),
            st.integers(0, 40).map(lambda target: bytes((0xC0, target))),
        ),
        max_size=20,
    ),
    st.lists(st.integers(0, 40), max_size=8),
)
def test_names_are_the_same_whatever_is_known_of_others(pieces: list[bytes], places: list[int]) -> None:
    data = b"".join(pieces)
    known: dict[int, str] = {}
    for place in places:
        assert _decoded(data, place, known) == _decoded(data, place, None)


def test_a_name_that_many_point_to_is_read_once() -> None:
    """9000 bytes of anybody on the link took 80 ms before, in which nobody else was answered."""
    name = b"\x01a" * 126 + b"\0"
    data = bytes(12) + name + b"\x01b\xc0\x0c" * 1000
    known: dict[int, str] = {}
    decode_name(data, 12, known)

    for number in range(1000):
        assert decode_name(data, 12 + len(name) + 4 * number, known)[0] == "b." + known[12]
    assert len(known) == 1001


def test_a_name_has_an_end() -> None:
    with pytest.raises(Malformed):
        decode_name((b"\x3f" + b"x" * 63) * 5 + b"\0", 0)
