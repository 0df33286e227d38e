"""Transactions of actors as HTTP clients write them."""

import pytest

from pydapr.api.http import actor_bodies, actors
from pydapr.components.state import Delete, Set
from pydapr.errors import ActorStateSaveFailed, BadRequest, MalformedRequest


def made(body: bytes) -> list[Set | Delete]:
    return [actor_bodies.made(one) for one in actor_bodies.operations(body)]


def test_operations_are_read_as_go_reads_them_and_values_stay_as_they_are() -> None:
    body = b"""[{"operation":"upsert","request":{"key":"k","value":{"b": 1.50, "a":[]},"metadata":{"ttlInSeconds":"3"}}}
    ,{"Operation":"delete","Request":{"KEY":"x","etag":"5","more":{}}},{"operation":"upsert","request":{"key":"n"}}]"""
    first, second, third = made(body)
    assert isinstance(first, Set)
    assert (first.key, first.value, first.is_json) == ("k", b'{"b": 1.50, "a":[]}', True)
    assert first.metadata == {"ttlInSeconds": "3"}
    assert isinstance(second, Delete)
    assert (second.key, second.etag) == ("x", "5")
    assert isinstance(third, Set)
    assert third.value == b"null"


def test_halves_of_letters_do_not_make_a_body_unreadable() -> None:
    body = b'[{"operation": "upsert", "request": {"key": "k", "value": ["\\ud83d", "\\ud83d\\ude00", "\xff"]}}]'
    (one,) = made(body)
    assert isinstance(one, Set)
    assert one.value.decode() == '["\ufffd", "\U0001f600", "\ufffd"]'


@pytest.mark.parametrize("body", [b"[]", b"null", b" [] "])
def test_no_operations(body: bytes) -> None:
    assert made(body) == []


@pytest.mark.parametrize("body", [b"", b"{}", b"5", b"[5]", b'[{"operation":5}]', b"[", b"\xff"])
def test_what_is_no_list_of_operations(body: bytes) -> None:
    with pytest.raises(MalformedRequest, match="failed deserializing HTTP body: "):
        made(body)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"[{}]", "request data is empty"),
        (b"[null]", "request data is empty"),
        (b'[{"request":{}}]', "operation is empty"),
        (b'[{"operation":"x","request":{}}]', "operation type x not supported"),
        (b'[{"operation":"upsert","request":{"key":5}}]', "key"),
        (b'[{"operation":"upsert","request":[]}]', "object"),
    ],
)
def test_operations_that_are_none(body: bytes, text: str) -> None:
    with pytest.raises(ActorStateSaveFailed, match=text):
        made(body)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"Cat/a%2Fb/method/m", 'invalid actorId: name contains forbidden character: "a/b"'),
        (b"Cat/%2e%2e/method/m", 'invalid actorId: name is a path traversal sequence: ".."'),
        (b"C%00t/1/method/m", "invalid actorType: name contains forbidden character"),
        (b"Cat/%01/method/m", "invalid actorId: name contains control character at position 0"),
        (b"Cat/1/method/a%3fb", 'method contains forbidden character: "a?b"'),
    ],
)
def test_names_that_cannot_be(path: bytes, text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        actors._named(actors.PREFIX + path)
    assert text in caught.value.message


def test_names_are_decoded_once() -> None:
    actor, method = actors._named(actors.PREFIX + b"C%C3%A4t/a+b%2525/method/x%2F..%2Fy")
    assert (actor.type, actor.id, method) == ("Cät", "a b%25", "y")
