"""HPACK's Huffman code."""

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given
from hypothesis import strategies as st

from pydapr.wire import huffman

_oracle = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


@given(st.binary(max_size=50))
def test_every_string_comes_back(text: bytes) -> None:
    assert huffman.decode(_oracle.encode(text)) == text


@pytest.mark.parametrize("data", [b"\xff", b"\xff\xff\xff\xff", b"\x18", b"\x1f\xff"])
def test_wrong_padding_and_the_end_of_string_symbol_are_errors(data: bytes) -> None:
    with pytest.raises(huffman.HuffmanError):
        huffman.decode(data)


@pytest.mark.plain
def test_the_memory_for_steps_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huffman, "_BOUND", 10)
    huffman._steps.clear()
    text = bytes(range(256))
    assert huffman.decode(_oracle.encode(text)) == text
    assert len(huffman._steps) <= 10
