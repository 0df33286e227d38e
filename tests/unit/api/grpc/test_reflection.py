"""Server reflection, asked as its clients ask."""

from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2

from pydapr.api.grpc import reflection
from pydapr.net import grpc_server
from pydapr.wire.invocation import field, fields

Client = Any
METHOD = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
DAPR = b"dapr.proto.runtime.v1.Dapr"
FILE = b"dapr/proto/runtime/v1/dapr.proto"

BY_NAME, BY_SYMBOL, BY_EXTENSION, EXTENSIONS, LIST = b"\x1a", b"\x22", b"\x2a", b"\x32", b"\x3a"
FILES, ERROR = 4, 7


async def ask(client: Client, *questions: bytes) -> list[dict[int, Any]]:
    """The answers by the numbers of their fields."""
    await client.serve(grpc_server.Methods({METHOD.encode(): reflection.serve}))

    def call(channel: Any) -> list[bytes]:
        return list(channel.stream_stream(METHOD)(iter(questions), timeout=10))

    return [dict(fields(answer)) for answer in await client.ask(call)]


def files(answer: dict[int, Any]) -> list[descriptor_pb2.FileDescriptorProto]:
    found = [value for _, value in fields(answer[FILES])]
    return [descriptor_pb2.FileDescriptorProto.FromString(data) for data in found if isinstance(data, bytes)]


async def test_services_are_listed(client: Client) -> None:
    (answer,) = await ask(client, field(LIST, b"*"))

    named = [value for _, value in fields(answer[6])]
    assert named == [field(b"\x0a", name.encode()) for name in reflection.SERVICES]


async def test_the_question_comes_back_with_the_answer(client: Client) -> None:
    question = field(b"\x0a", b"host") + field(LIST, b"*")

    (answer,) = await ask(client, question)

    assert (answer[1], answer[2]) == (b"host", question)


@pytest.mark.parametrize(
    "question", [field(BY_NAME, FILE), field(BY_SYMBOL, DAPR), field(BY_SYMBOL, DAPR + b".GetState")]
)
async def test_files_come_with_all_that_they_need(client: Client, question: bytes) -> None:
    (answer,) = await ask(client, question)

    found = files(answer)
    assert found[0].name == FILE.decode()
    assert {need for file in found for need in file.dependency} == {file.name for file in found[1:]}


async def test_files_that_were_sent_are_not_sent_again(client: Client) -> None:
    whole, again = await ask(client, field(BY_NAME, FILE), field(BY_NAME, FILE))

    assert len(files(whole)) > 1 and [file.name for file in files(again)] == [FILE.decode()]


@pytest.mark.parametrize(
    "question",
    [
        field(BY_NAME, b"no.proto"),
        field(BY_SYMBOL, b"no.Symbol"),
        field(BY_EXTENSION, field(b"\x0a", DAPR) + b"\x10\x01"),
        field(EXTENSIONS, DAPR),
    ],
)
async def test_what_is_not_there_is_an_answer_too(client: Client, question: bytes) -> None:
    answer, listed = await ask(client, question, field(LIST, b"*"))

    assert dict(fields(answer[ERROR]))[1] == 5 and listed[6]


@pytest.mark.parametrize(
    ("question", "code"), [(b"", grpc.StatusCode.INVALID_ARGUMENT), (b"\xff\xff", grpc.StatusCode.INTERNAL)]
)
async def test_questions_that_are_none_end_the_stream(client: Client, question: bytes, code: Any) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        await ask(client, question)

    assert failed.value.code() == code
