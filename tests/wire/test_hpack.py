"""HPACK on bytes: the examples of RFC 7541 appendix C, its limits, its errors, and what the decoder remembers."""

import pytest

from pydapr.wire import hpack
from pydapr.wire.hpack import Decoder, HeaderListTooLarge, Headers, HpackError

REQUESTS: list[Headers] = [
    (
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/"),
        (b":authority", b"www.example.com"),
    ),
    (
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/"),
        (b":authority", b"www.example.com"),
        (b"cache-control", b"no-cache"),
    ),
    (
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", b"/index.html"),
        (b":authority", b"www.example.com"),
        (b"custom-key", b"custom-value"),
    ),
]
COOKIE = b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
RESPONSES: list[Headers] = [
    (
        (b":status", b"302"),
        (b"cache-control", b"private"),
        (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
        (b"location", b"https://www.example.com"),
    ),
    (
        (b":status", b"307"),
        (b"cache-control", b"private"),
        (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
        (b"location", b"https://www.example.com"),
    ),
    (
        (b":status", b"200"),
        (b"cache-control", b"private"),
        (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT"),
        (b"location", b"https://www.example.com"),
        (b"content-encoding", b"gzip"),
        (b"set-cookie", COOKIE),
    ),
]
EXAMPLES = {
    "C.3 requests without Huffman": (
        4096,
        REQUESTS,
        [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ],
    ),
    "C.4 requests with Huffman": (
        4096,
        REQUESTS,
        [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ],
    ),
    "C.5 responses without Huffman": (
        256,
        RESPONSES,
        [
            "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
            "6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
            "4803333037c1c0bf",
            "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d"
            "4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b20766572"
            "73696f6e3d31",
        ],
    ),
    "C.6 responses with Huffman": (
        256,
        RESPONSES,
        [
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b"
            "97c8e9ae82ae43d3",
            "4883640effc1c0bf",
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdf"
            "cd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ],
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_rfc_decode(name: str) -> None:
    table_size, expected, blocks = EXAMPLES[name]
    decoder = Decoder(table_size)
    assert [decoder.decode(bytes.fromhex(block)) for block in blocks] == expected


@pytest.mark.parametrize(
    ("block", "field"),
    [
        ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", (b"custom-key", b"custom-header")),
        ("040c2f73616d706c652f70617468", (b":path", b"/sample/path")),
        ("100870617373776f726406736563726574", (b"password", b"secret")),
        ("82", (b":method", b"GET")),
    ],
)
def test_each_kind_of_field_in_appendix_c2_decodes(block: str, field: hpack.Header) -> None:
    assert Decoder().decode(bytes.fromhex(block)) == (field,)


def test_the_long_integer_of_appendix_c1_is_a_length() -> None:
    value = b"v" * 1337
    block = b"\x00\x01n" + b"\x7f" + b"\xba\x09" + value
    assert Decoder().decode(block) == ((b"n", value),)


@pytest.mark.parametrize(
    "block",
    [
        "80",  # index 0
        "be",  # nothing in the dynamic table yet
        "ff80808080",  # integer cut off
        "ffffffffffff7f",  # integer too large
        "7f",  # a name index without its rest
        "00",  # no name
        "000161",  # no value
        "00016105ff",  # string cut off
        "0083ffffff00",  # the end-of-string symbol
        "00821fff00",  # padding of more than seven bits
        "00811800",  # padding that is not ones
        "823f00",  # size update after a field
        "3fe21f",  # size above 4096
        "7e0161",  # name index beyond both tables
    ],
)
def test_a_broken_block_is_an_error(block: str) -> None:
    with pytest.raises(HpackError):
        Decoder().decode(bytes.fromhex(block))


def test_the_same_block_gives_the_same_tuple_on_every_connection() -> None:
    block = hpack.encode(REQUESTS[0])
    first = Decoder().decode(block)
    other = Decoder()
    assert other.decode(block) is first
    assert other.remembered


def test_a_block_that_reads_the_dynamic_table_is_remembered_until_the_table_changes() -> None:
    decoder = Decoder()
    decoder.decode(bytes.fromhex("4001610162"))
    first = decoder.decode(b"\xbe")
    assert decoder.decode(b"\xbe") is first
    decoder.decode(bytes.fromhex("4001630164"))
    assert not decoder.remembered
    assert decoder.decode(b"\xbe") == ((b"c", b"d"),)
    assert decoder.decode(b"\xbf") == first
    # A literal that takes its name from the table counts as well.
    assert decoder.decode(bytes.fromhex("0f2f0178")) == ((b"c", b"x"),)
    decoder.decode(bytes.fromhex("4001650166"))
    assert decoder.decode(bytes.fromhex("0f2f0178")) == ((b"e", b"x"),)


def test_a_size_update_empties_the_table_and_what_was_remembered_of_it() -> None:
    decoder = Decoder()
    decoder.decode(bytes.fromhex("4001610162"))
    decoder.decode(b"\xbe")
    assert decoder.decode(hpack.FORGET_TABLE) == ()
    with pytest.raises(HpackError):
        decoder.decode(b"\xbe")


def test_a_field_larger_than_the_table_empties_it() -> None:
    decoder = Decoder(64)
    decoder.decode(bytes.fromhex("4001610162"))
    decoder.decode(b"\x40\x01n\x40" + b"v" * 64)
    with pytest.raises(HpackError):
        decoder.decode(b"\xbe")


def test_a_list_that_is_too_large_leaves_the_table_in_step() -> None:
    decoder = Decoder(max_header_list=100)
    with pytest.raises(HeaderListTooLarge):
        decoder.decode(b"\x40\x01a\x01b\x00\x01n\x7f\x01" + b"v" * 128)
    assert decoder.decode(b"\xbe") == ((b"a", b"b"),)


def test_a_small_limit_does_not_share_what_larger_ones_remember() -> None:
    block = b"\x82" * 8
    assert len(Decoder().decode(block)) == 8
    with pytest.raises(HeaderListTooLarge):
        Decoder(max_header_list=300).decode(block)


def test_many_fields_within_the_limit_are_counted_exactly() -> None:
    assert len(Decoder(max_header_list=42 * 100).decode(b"\x82" * 100)) == 100
    with pytest.raises(HeaderListTooLarge):
        Decoder(max_header_list=42 * 100 - 1).decode(b"\x82" * 100)


@pytest.mark.plain
def test_memory_for_blocks_strings_and_fields_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_MEMO_BLOCKS", "_MEMO_STRINGS"):
        monkeypatch.setattr(hpack, name, 4)
    decoder = Decoder()
    decoder.decode(bytes.fromhex("4001610162"))
    for number in range(100):
        fields = ((b"n%d" % number, b"v"),)
        assert decoder.decode(hpack.encode(fields)) == fields
        decoder.decode(b"\xbe\x00\x01n\x02%02d" % number)
        # Two symbols of five bits in Huffman code, padded to two bytes.
        decoder.decode(b"\x00\x01n\x82" + (number % 10 << 6 | 0x3F).to_bytes(2, "big"))
    assert len(hpack._blocks) <= 4
    assert len(decoder._seen) <= 4
    assert len(hpack._strings) <= 4
    assert len(hpack._encoded) <= 61 + 4
    assert len(hpack._names) <= 4


def test_long_blocks_lists_and_strings_are_not_remembered() -> None:
    decoder = Decoder()
    for block in (b"\x00\x01n\x7f\x81\x10" + b"v" * 2176, b"\x82" * 900):
        decoder.decode(block)
        assert not decoder.remembered
    text = b"\xff\x03" + b"\x00" * 130
    assert decoder.decode(b"\x00\x01n" + text) != decoder.decode(b"\x00\x01m" + text)
    assert text[2:] not in hpack._strings


def test_what_is_encoded_is_static_or_literal_and_the_same_every_time() -> None:
    assert hpack.encode(REQUESTS[0]) == bytes.fromhex("828684010f7777772e6578616d706c652e636f6d")
    assert hpack.encode(REQUESTS[0]) == hpack.Encoder().encode(list(REQUESTS[0]))
    assert hpack.encode([(b"custom-key", b"custom-value")]) == b"\x00\x0acustom-key\x0ccustom-value"


@pytest.mark.parametrize("name", [b"authorization", b"cookie", b"set-cookie", b"dapr-api-token"])
def test_a_secret_is_never_indexed_nor_remembered(name: bytes) -> None:
    block = hpack.encode([(name, b"secret")])
    assert block[0] & 0xF0 == 0x10
    assert (name, b"secret") not in hpack._encoded
    assert Decoder().decode(block) == ((name, b"secret"),)


@pytest.mark.parametrize("field", [(b"n", b"v" * 20_000), (b"n" * 20_000, b"v")])
def test_long_fields_are_encoded_and_not_remembered(field: hpack.Header) -> None:
    assert Decoder().decode(hpack.encode([field])) == (field,)
    assert field not in hpack._encoded
    assert b"n" * 20_000 not in hpack._names


def test_a_beginning_in_common_is_learnt_and_learnt_anew_when_it_changes() -> None:
    hpack._beginnings.clear()
    path = (b":path", b"/" + b"q" * 60)

    def decode(*extra: hpack.Header) -> Headers:
        headers = Decoder().decode(hpack.encode((path, *extra)))
        assert headers == (path, *extra)
        return headers

    for number in range(3):
        decode((b"same", b"1"), (b"other", b"%d" % number))
    [(_, fields)] = hpack._beginnings.values()
    assert fields == (path, (b"same", b"1"))
    for number in range(3):
        decode((b"same", b"2"), (b"other", b"%d" % number))
    assert [fields for _, fields in hpack._beginnings.values()] == [(path, (b"same", b"2"))]


def test_blocks_that_differ_in_their_first_field_have_no_beginning_in_common() -> None:
    hpack._beginnings.clear()
    for number in range(3):
        Decoder().decode(hpack.encode([(b"first", b"f" * 60 + b"%d" % number), (b"x", b"y")]))
    assert [fields for _, fields in hpack._beginnings.values()] == [()]


@pytest.mark.plain
def test_the_memory_for_beginnings_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hpack, "_MEMO_BEGINNINGS", 3)
    for number in range(20):
        Decoder().decode(hpack.encode([(b"a-%d" % number, b"b")]))
    assert len(hpack._beginnings) <= 3
