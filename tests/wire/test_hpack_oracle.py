"""HPACK against another implementation: what it encodes we decode, what we encode it decodes."""

import hpack as oracle
from hypothesis import given
from hypothesis import strategies as st

from pydapr.wire import hpack

_names = st.one_of(
    st.sampled_from([name for name, _ in hpack._STATIC]),
    st.text("abcxyz-0123", min_size=1, max_size=12).map(str.encode),
)
_values = st.one_of(
    st.sampled_from([b"", b"/", b"POST", b"application/grpc", b"v" * 200, b"w" * 5000]),
    st.binary(max_size=40),
)
_fields = st.tuples(_names, _values, st.booleans())
_lists = st.lists(_fields, max_size=12)
_sizes = st.sampled_from([None, None, 0, 60, 256, 1000, 4096])


@given(st.lists(st.tuples(_lists, _sizes, st.booleans()), max_size=8))
def test_we_decode_whatever_the_oracle_encodes(
    blocks: list[tuple[list[tuple[bytes, bytes, bool]], int | None, bool]],
) -> None:
    encoder, decoder = oracle.Encoder(), hpack.Decoder(max_header_list=1 << 20)
    for fields, size, is_huffman in blocks:
        if size is not None:
            encoder.header_table_size = size
        block = encoder.encode(
            [oracle.HeaderTuple(n, v) if plain else oracle.NeverIndexedHeaderTuple(n, v) for n, v, plain in fields],
            huffman=is_huffman,
        )
        expected = tuple((name, value) for name, value, _ in fields)
        assert decoder.decode(block) == expected
        assert decoder._used == encoder.header_table._current_size


@given(_lists)
def test_the_oracle_decodes_whatever_we_encode(fields: list[tuple[bytes, bytes, bool]]) -> None:
    given_fields = [(name, value) for name, value, _ in fields]
    decoder = oracle.Decoder(max_header_list_size=1 << 20)
    block = hpack.FORGET_TABLE + hpack.encode(given_fields)
    assert [tuple(field) for field in decoder.decode(block, raw=True)] == given_fields


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_garbage_raises_only_our_errors_and_agrees_with_the_oracle(blocks: list[bytes]) -> None:
    ours, theirs = hpack.Decoder(), oracle.Decoder()
    for block in blocks:
        try:
            headers = ours.decode(block)
        except hpack.HpackError:
            return
        assert [tuple(field) for field in theirs.decode(block, raw=True)] == list(headers)


_beginning = ((b":path", b"/" + b"p" * 60), (b"content-type", b"application/grpc"))


@given(st.lists(st.tuples(_lists, st.integers(0, 200)), min_size=2, max_size=8))
def test_blocks_that_begin_alike_decode_alike(
    tails: list[tuple[list[tuple[bytes, bytes, bool]], int]],
) -> None:
    ours, theirs = hpack.Decoder(), oracle.Decoder()
    for tail, cut in tails:
        block = hpack.encode((*_beginning, *((name, value) for name, value, _ in tail)))
        expected = [tuple(field) for field in theirs.decode(block, raw=True)]
        assert list(ours.decode(block)) == expected
        # A block that ends somewhere within another is broken, or is that much of the other's fields.
        try:
            shorter = ours.decode(block[:cut])
        except hpack.HpackError:
            continue
        assert list(shorter) == expected[: len(shorter)]
