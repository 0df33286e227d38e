"""Whether a `baggage` field is one, in the words of the original's library (OpenTelemetry for Go). Pure.

Called by `api.http.traced` and `api.grpc.traced`. What is good goes on as it came: to the app, and to the client in
the head of its answer.
"""

import re
from functools import lru_cache

from pydapr.lib import quote

MAX_BYTES = 8192
MAX_MEMBERS = 180

_is_key = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_is_value = re.compile(rb"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*").fullmatch
_is_property = re.compile(
    rb"\s*[!#$%&'*+\-.^_`|~0-9A-Za-z]+\s*(?:=\s*[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*\s*)?"
).fullmatch
_bad_escape = re.compile(rb"%(?![0-9a-fA-F]{2}).{0,2}", re.DOTALL).search


class Invalid(ValueError):
    """The text is no baggage."""


@lru_cache(256)
def check(text: bytes) -> None:
    """Raises `Invalid`, whose message says what is wrong."""
    if not text:
        return
    if len(text) > MAX_BYTES:
        raise Invalid(f"baggage-string too large: {len(text)}")
    keys = {_member(member) for member in text.split(b",")}
    if len(keys) > MAX_MEMBERS:
        raise Invalid("too many list-members in baggage-string")


def _member(text: bytes) -> bytes:
    """The key of one member."""
    pair, *properties = text.split(b";")
    for one in properties:
        if one and _is_property(one) is None:
            raise Invalid(f"invalid baggage list-member property: {_quoted(one)}")
    key, equals, value = pair.partition(b"=")
    if not equals:
        raise Invalid(f"invalid baggage list-member: {_quoted(text)}")
    key = key.strip()
    if _is_key(key) is None:
        raise Invalid(f"invalid key: {_quoted(key)}")
    if _is_value(value.strip()) is None:
        raise Invalid(f"invalid value: {_quoted(value)}")
    wrong = _bad_escape(value.strip())
    if wrong is not None:
        raise Invalid(f"invalid value: invalid URL escape {_quoted(wrong[0])}")
    return key


def _quoted(text: bytes) -> str:
    return quote.go(text.decode("utf-8", "surrogateescape"))
