"""What sentry is asked for, and what it answers, is what protobuf makes of it."""

import contextlib
from typing import TypeAlias

from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from pydapr.proto.dapr.proto.sentry.v1 import sentry_pb2
from pydapr.wire import signing
from pydapr.wire.invocation import field, varint

Request: TypeAlias = sentry_pb2.SignCertificateRequest
Response: TypeAlias = sentry_pb2.SignCertificateResponse
WORDS = st.text(st.characters(codec="utf-8"), max_size=8)
NUMBERS = st.integers(-(1 << 31), (1 << 31) - 1)
TOKENS = st.dictionaries(WORDS, WORDS, max_size=3)
UNKNOWN = field(b"\x8a\x01", b"x") + b"\x90\x01\x05"
"""Fields that a later version may have."""


def _fields(of: Request | signing.Request) -> list[object]:
    names = ("id", "token", "trust_domain", "namespace", "certificate_signing_request", "token_validator")
    return [*[getattr(of, name) for name in names], list(of.jwt_audiences)]


@given(st.lists(WORDS, min_size=4, max_size=7), st.binary(max_size=8), NUMBERS)
def test_requests_are_those_of_protobuf_both_ways(words: list[str], csr: bytes, validator: int) -> None:
    message = Request(
        id=words[0],
        token=words[1],
        trust_domain=words[2],
        namespace=words[3],
        certificate_signing_request=csr,
        jwt_audiences=words[4:],
    )
    message.MergeFromString(b"\x30" + varint(validator & 0xFFFF_FFFF_FFFF_FFFF))  # whatever its number, it is kept
    data = message.SerializeToString()
    read = signing.Request.decode(UNKNOWN + data + UNKNOWN)
    assert _fields(read) == _fields(message)
    assert read.encode() == data


@given(st.binary(max_size=8), st.binary(max_size=8), st.integers(1, 1 << 40), WORDS, TOKENS)
def test_answers_are_those_of_protobuf(
    chain: bytes, anchors: bytes, until: int, jwt: str, tokens: dict[str, str]
) -> None:
    read = Response.FromString(signing.answer(chain, anchors, until, jwt, tokens))
    assert (read.workload_certificate, list(read.trust_chain_certificates)) == (chain, [anchors])
    assert (read.valid_until.seconds, read.valid_until.nanos) == (until, 0)
    assert (read.HasField("jwt"), read.jwt.value) == (bool(jwt), jwt)
    assert {audience: token.value for audience, token in read.per_audience_jwts.items()} == tokens


@given(st.binary(max_size=8), WORDS, TOKENS)
def test_of_answers_is_read_what_is_needed(chain: bytes, jwt: str, tokens: dict[str, str]) -> None:
    message = Response(workload_certificate=chain, trust_chain_certificates=[b"x"])
    message.valid_until.seconds = 5
    message.jwt.value = jwt
    for audience, token in tokens.items():
        message.per_audience_jwts[audience].value = token
    read = signing.Answer.decode(UNKNOWN + message.SerializeToString() + UNKNOWN)
    assert (read.workload_certificate, read.jwt, read.jwt_by_audience) == (chain, jwt, tokens)


@given(st.binary(max_size=20))
def test_what_is_no_message_is_invalid_or_means_the_same_to_both(data: bytes) -> None:
    with contextlib.suppress(signing.Invalid, DecodeError):
        read = signing.Request.decode(data)
        assert _fields(read) == _fields(Request.FromString(data))
    with contextlib.suppress(signing.Invalid, DecodeError):
        answer = signing.Answer.decode(data)
        assert answer.workload_certificate == Response.FromString(data).workload_certificate
