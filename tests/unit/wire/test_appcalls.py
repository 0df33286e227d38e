"""What is written and read by hand, held against what protobuf makes of the .proto files."""

import pytest

from pydapr.proto.dapr.proto.common.v1 import common_pb2
from pydapr.proto.dapr.proto.internals.v1 import service_invocation_pb2
from pydapr.proto.dapr.proto.runtime.v1 import invoke_pb2
from pydapr.wire import appcalls

REQUESTS = [
    appcalls.Request(),
    appcalls.Request(b"m", b"data", b"type/x", b"text/plain", (b"POST", b"a=b")),
    appcalls.Request(b"m" * 300, b"d" * 70_000, b"", b"", (b"", b"")),
    appcalls.Request(b"m", b"", b"", b"", (b"PATCH", b"")),
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_requests_are_protobufs(request_: appcalls.Request) -> None:
    read = common_pb2.InvokeRequest.FromString(request_.encode())

    assert (read.method.encode(), read.data.value, read.data.type_url.encode()) == (
        request_.method,
        request_.data,
        request_.type_url,
    )
    assert read.HasField("http_extension") == (request_.extension is not None)
    again = appcalls.Request.decode(read.SerializeToString())
    assert again.encode() == request_.encode()


def test_an_invocation_is_read() -> None:
    message = common_pb2.InvokeRequest(
        method="m", content_type="t", http_extension={"verb": "PUT", "querystring": "q=1"}
    )
    message.data.value = b"x"
    sent = invoke_pb2.InvokeServiceRequest(id="other.ns", message=message)

    target, request = appcalls.invoke_service(sent.SerializeToString())

    assert target == b"other.ns" and request is not None
    assert (request.method, request.data, request.extension) == (b"m", b"x", (b"PUT", b"q=1"))
    assert appcalls.invoke_service(b"") == (b"", None)


@pytest.mark.parametrize("with_data", [True, False])
def test_answers_are_protobufs(with_data: bool) -> None:
    answer = appcalls.Response(5, b"none", b"\x1a\x03\x0a\x01t")
    answer.metadata = [(b"x-a", b"1"), (b"x-a", b"2"), (b"y-bin", b"AAE=")]
    answer.trailers = [(b"x-t", b"3")]
    answer.data, answer.type_url, answer.content_type = b"payload", b"type/x", b"text/plain"

    read = service_invocation_pb2.InternalInvokeResponse.FromString(answer.encode(with_data))

    assert (read.status.code, read.status.message, read.status.details[0].type_url) == (5, "none", "t")
    assert list(read.headers["x-a"].values) == ["1", "2"] and list(read.trailers["x-t"].values) == ["3"]
    assert (read.message.content_type, read.message.data.type_url) == ("text/plain", "type/x")
    assert read.message.data.value == (b"payload" if with_data else b"")
    again = appcalls.Response.decode(read.SerializeToString())
    assert (again.code, again.message, again.details) == (answer.code, answer.message, answer.details)
    assert sorted(again.metadata) == sorted(answer.metadata) and again.trailers == answer.trailers


def test_metadata_of_a_request_keep_their_case() -> None:
    sent = service_invocation_pb2.InternalInvokeRequest()
    sent.metadata["Content-Type"].values.append("text/plain")
    sent.metadata[":authority"].values.extend(["a", "b"])

    headers = appcalls.metadata_of(sent.SerializeToString())

    assert sorted(headers) == [(b":authority", b"a"), (b":authority", b"b"), (b"Content-Type", b"text/plain")]
    written = service_invocation_pb2.InternalInvokeRequest.FromString(appcalls.entries(headers))
    assert written.metadata == sent.metadata


@pytest.mark.parametrize("data", [b"\x0a\x05ab", b"\x08\x01", b"\xff", b"\x12\x02\x08"])
def test_what_is_no_message_is_invalid(data: bytes) -> None:
    with pytest.raises(appcalls.Invalid):
        appcalls.Request.decode(data)
