"""All verbs reach the app, with and without a body."""

import pytest
from tests.integration.invoke.conftest import Pair


@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_reaches_the_app(pair: Pair, verb: str) -> None:
    reply = pair.call(verb, "some/method")

    assert reply.status == 200
    assert pair.app.last.start == f"{verb} /some/method HTTP/1.1"


@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_takes_a_body_there_and_back(pair: Pair, verb: str) -> None:
    reply = pair.call(verb, "m", body=b"\x00binary\xff")

    assert (reply.status, reply.body) == (200, b"\x00binary\xff")
    assert pair.app.last.body == b"\x00binary\xff"
