"""Which path the app sees. What the original makes of each was found by running these tests against it."""

import pytest
from tests.integration.invoke.conftest import Pair


@pytest.mark.parametrize(
    ("method", "seen"),
    [
        ("a%20b", "/a%20b"),
        ("a+b", "/a+b"),
        ("%2F", "/"),
        ("a%2Fb", "/a/b"),
        ("a//b", "/a/b"),
        ("../x", "/x"),
        ("a/../b", "/b"),
        ("a/../../../b", "/b"),
        ("a/./b", "/a/b"),
        ("a/%2e%2e/b", "/b"),
        ("a/", "/a"),
        ("/a", "/a"),
        ("%C3%A9", "/%C3%A9"),
        ("a%E2%80%A8b", "/a%E2%80%A8b"),
        ("a%2520b", "/a%20b"),
        ("a;b", "/a;b"),
        ("a:b@c", "/a:b@c"),
        ("a[b]", "/a[b]"),
        ("a{b}", "/a%7Bb%7D"),
        ("a|b", "/a%7Cb"),
        ("a\\b", "/a%5Cb"),
        ("a'b\"c", "/a%27b%22c"),
        ("a,b;c=d&e", "/a,b;c=d&e"),
        ("*", "/*"),
        ("~", "/~"),
        ("", "/"),
        ("method/b", "/method/b"),
        ("method/method/x", "/method/method/x"),
    ],
)
def test_is_cleaned_and_escaped(pair: Pair, method: str, seen: str) -> None:
    assert pair.call("GET", method).status == 200
    assert pair.app.last.target == seen


@pytest.mark.parametrize(
    ("query", "seen"),
    [
        ("?", "/a"),
        ("?x=1", "/a?x=1"),
        ("?q=1&q=2&empty=&k", "/a?q=1&q=2&empty=&k"),
        ("?q=a%20b+c%2F%26&%C3%A9=1", "/a?q=a%20b+c%2F%26&%C3%A9=1"),
        ("?a=%zz", "/a?a=%zz"),
        ("?x=1?y=2", "/a?x=1?y=2"),
        ("?x=1#fragment", "/a?x=1"),
    ],
)
def test_keeps_the_query(pair: Pair, query: str, seen: str) -> None:
    assert pair.call("GET", "a" + query).status == 200
    assert pair.app.last.target == seen


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("a%3Fb", 'method contains forbidden character: \\"a?b\\"'),
        ("a%23b", 'method contains forbidden character: \\"a#b\\"'),
        ("a%00b", 'method contains forbidden character: \\"a\\\\x00b\\"'),
        ("a%0Ab", 'method contains control character at position 1: \\"a\\\\nb\\"'),
        ("a%0Db", 'method contains control character at position 1: \\"a\\\\rb\\"'),
        ("a%09b", 'method contains control character at position 1: \\"a\\\\tb\\"'),
        ("a%7Fb", 'method contains control character at position 1: \\"a\\\\x7fb\\"'),
    ],
)
def test_refuses_what_could_be_taken_for_something_else(pair: Pair, method: str, reason: str) -> None:
    reply = pair.call("GET", method)

    error = f"rpc error: code = InvalidArgument desc = invalid method: {reason}"
    text = f"failed to invoke, id: {pair.callee.app_id}, err: {error}"
    assert reply.status == 500
    assert reply.body.decode() == f'{{"errorCode":"ERR_DIRECT_INVOKE","message":"{text}"}}'
    assert pair.app.seen == []


def test_refuses_a_name_that_is_no_path_after_decoding(remote: Pair) -> None:
    reply = remote.call("GET", "a%25b")

    text = (
        f"failed to invoke, id: {remote.callee.app_id}, err: rpc error: code = Internal desc = error invoking app "
        f'channel: parse \\"http://127.0.0.1:{remote.app.port}/a%b\\": invalid URL escape \\"%b\\"'
    )
    assert reply.body.decode() == f'{{"errorCode":"ERR_DIRECT_INVOKE","message":"{text}"}}'


@pytest.mark.parametrize("method", ["a%zzb", "a%"])
def test_refuses_a_broken_escape(pair: Pair, method: str) -> None:
    reply = pair.call("GET", method)

    assert reply.status == 400
    assert reply.body.startswith(b"400 Bad Request")
