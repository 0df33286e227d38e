"""Baggage: what is one, and the original's words for what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydapr.wire import baggage


@pytest.mark.parametrize(
    "text", [b"", b"k=v", b"key1=value1,key2=value2", b"k=v, k2=v%202;p=1", b"k=;p", b" k = v ;p= 1 ", b"k=a=b"]
)
def test_what_is_baggage_passes(text: bytes) -> None:
    baggage.check(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"invalid-baggage", 'invalid baggage list-member: "invalid-baggage"'),
        (b"a b=c", 'invalid key: "a b"'),
        (b'a=b"c', 'invalid value: "b\\"c"'),
        (b"a=%zz", 'invalid value: invalid URL escape "%zz"'),
        (b"a=b;c d=e", 'invalid baggage list-member property: "c d=e"'),
        (b"a=b,", 'invalid baggage list-member: ""'),
        (b"k=" + b"v" * 9000, "baggage-string too large: 9002"),
        (b",".join(b"k%d=v" % n for n in range(181)), "too many list-members in baggage-string"),
    ],
)
def test_what_is_none_is_said_in_the_originals_words(text: bytes, words: str) -> None:
    with pytest.raises(baggage.Invalid) as caught:
        baggage.check(text)
    assert str(caught.value) == words


@given(st.binary(max_size=60))
def test_other_bytes_are_invalid_and_nothing_else(text: bytes) -> None:
    try:
        baggage.check(text)
    except baggage.Invalid as error:
        assert str(error)
