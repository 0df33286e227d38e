"""The messages between sidecars against what protobuf makes of the contract in `src/pydapr/proto`."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pydapr.proto.dapr.proto.internals.v1 import service_invocation_pb2
from pydapr.wire import grpc, invocation
from pydapr.wire import headers as names


@pytest.fixture(scope="module")
def pb() -> Any:
    """What protobuf makes of the contract."""
    return service_invocation_pb2


TEXT = st.text(max_size=20)
KEYS = st.text("abcXYZ-09", min_size=1, max_size=12).filter(lambda key: key.lower() not in ("content-type", "te"))
METADATA = st.dictionaries(KEYS, st.lists(st.text(st.characters(codec="utf-8"), max_size=200), max_size=3), max_size=6)
QUERY = st.text("abc=&%+", max_size=20)
BINARY = st.binary(max_size=300)


def _fields(metadata: dict[str, list[str]]) -> list[tuple[bytes, bytes]]:
    return sorted((key.lower().encode(), value.encode()) for key, values in metadata.items() for value in values)


def _fill(target: Any, metadata: dict[str, list[str]]) -> None:
    for key, values in metadata.items():
        target[key].values.extend(values)


@settings(max_examples=200)
@given(st.data())
def test_requests_of_protobuf_are_read_as_they_were_meant(pb: Any, data: st.DataObject) -> None:
    metadata, method, kind, query = data.draw(METADATA), data.draw(TEXT), data.draw(TEXT), data.draw(QUERY)
    body, verb = data.draw(BINARY), data.draw(st.integers(0, 9))
    message = pb.InternalInvokeRequest(ver=data.draw(st.sampled_from([0, 1])))
    _fill(message.metadata, metadata)
    message.message.method = method
    message.message.content_type = kind
    message.message.http_extension.verb = verb
    message.message.http_extension.querystring = query
    if body:
        message.message.data.value = body
    for _ in range(2):  # the second time it may come from the memory
        request = invocation.decode_request(message.SerializeToString())
        assert (request.version, request.verb, request.has_message) == (message.ver, verb, True)
        assert (request.method, request.query, request.data) == (method.encode(), query.encode(), body)
        expected = names.forwardable(_fields(metadata)) + ([(b"content-type", kind.encode())] if kind else [])
        assert sorted(request.headers) == sorted(expected)
        assert request.has_metadata == any(metadata.values())


@settings(max_examples=200)
@given(st.data())
def test_protobuf_reads_the_requests_we_write(pb: Any, data: st.DataObject) -> None:
    pairs = st.tuples(st.sampled_from([b"a", b"b-c", b"x-y-z"]), TEXT.map(str.encode))
    headers, method, query = data.draw(st.lists(pairs, max_size=5)), data.draw(TEXT), data.draw(QUERY)
    kind, verb = data.draw(TEXT), data.draw(st.integers(0, 9))
    encoded = invocation.encode_request(
        invocation.literal_entry(b"dapr-caller-app-id", b"me") + invocation.entries(headers),
        method.encode(), kind.encode(), verb, query.encode(),
    )  # fmt: skip
    message = pb.InternalInvokeRequest.FromString(encoded)
    assert (message.ver, message.message.method, message.message.content_type) == (1, method, kind)
    assert message.message.HasField("http_extension") and not message.message.HasField("data")
    assert (message.message.http_extension.verb, message.message.http_extension.querystring) == (verb, query)
    read = {key: list(item.values) for key, item in message.metadata.items()}
    assert read.pop("dapr-caller-app-id") == ["me"]
    assert all(names.canonical(key.encode()) == key.encode() for key in read)
    assert _fields(read) == sorted(headers)


@settings(max_examples=200)
@given(st.data())
def test_responses_pass_between_protobuf_and_us(pb: Any, data: st.DataObject) -> None:
    code, kind, body = data.draw(st.integers(0, 999)), data.draw(TEXT), data.draw(BINARY)
    metadata, text = data.draw(METADATA), data.draw(TEXT)
    message = pb.InternalInvokeResponse()
    _fill(message.headers, metadata)
    message.status.code = code
    message.status.message = text
    message.status.details.add(type_url="a/b", value=b"c")
    message.message.content_type = kind
    message.message.data.value = body
    response = invocation.decode_response(message.SerializeToString())
    assert (response.has_status, response.code, response.message) == (True, code, text.encode())
    assert response.data == body and response.details
    expected = names.forwardable(_fields(metadata)) + ([(b"content-type", kind.encode())] if kind else [])
    assert sorted(response.headers) == sorted(expected)
    ours = invocation.encode_response(code, [(b"a", b"1"), (b"content-type", b"t"), (b"a", b"2")], body)
    back = pb.InternalInvokeResponse.FromString(ours)
    assert (back.status.code, back.message.content_type, back.message.data.value) == (code, "t", body)
    assert list(back.headers["A"].values) == ["1", "2"]


@settings(max_examples=200)
@given(BINARY, st.integers(0, 2**64 - 1), st.booleans(), st.booleans())
def test_stream_messages_pass_between_protobuf_and_us(
    pb: Any, data: bytes, sequence: int, is_leading: bool, has_payload: bool
) -> None:
    message = pb.InternalInvokeRequestStream()
    if is_leading:
        message.request.ver = 1
    if has_payload:
        message.payload.data = data
        message.payload.seq = sequence
    leading, payload, number = invocation.decode_stream(message.SerializeToString())
    assert leading == (message.request.SerializeToString() if is_leading else b"")
    assert payload == (data if has_payload else None) and number == (sequence if has_payload else 0)
    frame = invocation.stream_frame(leading, data, sequence)
    (ours,) = grpc.MessageReader(1 << 20).feed(frame)
    back = pb.InternalInvokeRequestStream.FromString(ours)
    assert back.request.SerializeToString() == leading and back.payload.data == data
    assert back.HasField("payload") == bool(data) and back.payload.seq == (sequence if data else 0)


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_other_bytes_are_invalid_and_nothing_else(pb: Any, data: bytes) -> None:
    for decode in (invocation.decode_request, invocation.decode_response, invocation.decode_stream):
        try:
            decode(data)
        except invocation.Invalid:
            pass


def test_what_is_sent_on_straight_is_what_is_sent_on_after_a_closer_look() -> None:
    headers = [(b"a", b"1"), (b"te", b"x"), (b"grpc-a", b"2"), (b"b-bin", b"3"), (b"content-length", b"4")]
    straight = invocation.metadata(headers, dict(headers), ())
    assert straight == invocation.entries([*names.forwardable(headers), (b"content-length", b"4")])
    assert invocation.metadata([*headers, (b"a", b"5")], dict(headers), ()) is None
    assert invocation.metadata(headers, dict(headers), (b"a",)) is None
    named = [*headers, (b"connection", b"a")]
    assert invocation.metadata(named, dict(named), ()) is None


def test_values_pass_as_bytes() -> None:
    encoded = invocation.encode_request(invocation.entries([(b"x", b"\xff\xfe")]), b"m", b"", 1, b"")
    assert invocation.decode_request(encoded).headers == [(b"x", b"\xff\xfe")]


def test_a_blank_in_a_query_does_not_end_the_target() -> None:
    encoded = invocation.encode_request(b"", b"m", b"", 1, b"a b c")
    assert invocation.decode_request(encoded).query == b"a%20b%20c"
