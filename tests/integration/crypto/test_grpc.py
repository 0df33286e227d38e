"""Encryption and decryption of documents over gRPC, where they stream."""

import queue
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from tests.integration.crypto import keys
from tests.integration.grpc_app import DAPR, failure
from tests.integration.harness import World

from pydapr.proto.dapr.proto.common.v1 import common_pb2
from pydapr.proto.dapr.proto.runtime.v1 import crypto_pb2

SEGMENT = 64 * 1024
FAILED = "failed to perform operation: "


@pytest.fixture(scope="module")
def channel(shared_world: World) -> Iterator[Any]:
    keys.write(shared_world)
    sidecar = keys.sidecar(shared_world)
    made = grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}", options=[("grpc.max_receive_message_length", -1)])
    yield made
    made.close()


def payload(data: bytes, number: int) -> common_pb2.StreamPayload:
    return common_pb2.StreamPayload(data=data, seq=number)


def encryption(**more: Any) -> crypto_pb2.EncryptRequestOptions:
    given = {"component_name": "files", "key_name": "base64", "key_wrap_algorithm": "AES", **more}
    return crypto_pb2.EncryptRequestOptions(**given)


def encrypt(channel: Any, *requests: crypto_pb2.EncryptRequest) -> list[bytes]:
    answers = channel.stream_stream(
        DAPR + "EncryptAlpha1", crypto_pb2.EncryptRequest.SerializeToString, crypto_pb2.EncryptResponse.FromString
    )(iter(requests), timeout=20)
    return pieces(answers)


def decrypt(channel: Any, *requests: crypto_pb2.DecryptRequest) -> list[bytes]:
    answers = channel.stream_stream(
        DAPR + "DecryptAlpha1", crypto_pb2.DecryptRequest.SerializeToString, crypto_pb2.DecryptResponse.FromString
    )(iter(requests), timeout=20)
    return pieces(answers)


def pieces(answers: Any) -> list[bytes]:
    found = list(answers)
    assert [one.payload.seq for one in found] == list(range(len(found)))
    return [one.payload.data for one in found]


def test_a_document_comes_back_in_pieces(channel: Any) -> None:
    data = bytes(index * 7 % 251 for index in range(5 * SEGMENT + 3))
    parts = [data[start : start + 30_000] for start in range(0, len(data), 30_000)]
    requests = [crypto_pb2.EncryptRequest(payload=payload(part, number)) for number, part in enumerate(parts)]

    document = encrypt(channel, crypto_pb2.EncryptRequest(options=encryption()), *requests)
    assert [len(piece) for piece in document[1:]] == [SEGMENT + 16] * 5 + [3 + 16]

    requests_back = [crypto_pb2.DecryptRequest(payload=payload(part, number)) for number, part in enumerate(document)]
    options = crypto_pb2.DecryptRequestOptions(component_name="files")
    back = decrypt(channel, crypto_pb2.DecryptRequest(options=options), *requests_back)
    assert [len(piece) for piece in back] == [SEGMENT] * 5 + [3]
    assert b"".join(back) == data


def test_the_first_message_may_have_a_piece_and_a_document_may_be_empty(channel: Any) -> None:
    document = encrypt(channel, crypto_pb2.EncryptRequest(options=encryption(), payload=payload(b"hello", 0)))
    nothing = encrypt(channel, crypto_pb2.EncryptRequest(options=encryption()))
    options = crypto_pb2.DecryptRequestOptions(component_name="files", key_name="deep/raw")

    first = crypto_pb2.DecryptRequest(options=options, payload=payload(b"".join(document), 0))
    assert decrypt(channel, first) == [b"hello"]
    assert decrypt(channel, crypto_pb2.DecryptRequest(options=options, payload=payload(nothing[0], 0))) == []


def test_pieces_come_back_while_others_are_still_to_be_sent(channel: Any) -> None:
    to_send: queue.Queue[crypto_pb2.EncryptRequest | None] = queue.Queue()
    call = channel.stream_stream(
        DAPR + "EncryptAlpha1", crypto_pb2.EncryptRequest.SerializeToString, crypto_pb2.EncryptResponse.FromString
    )(iter(to_send.get, None), timeout=20)

    to_send.put(crypto_pb2.EncryptRequest(options=encryption()))
    assert next(call).payload.data.startswith(b"dapr.io/enc/v1\n")
    to_send.put(crypto_pb2.EncryptRequest(payload=payload(b"x" * (SEGMENT + 1), 0)))
    assert len(next(call).payload.data) == SEGMENT + 16
    to_send.put(None)
    assert len(next(call).payload.data) == 17


@pytest.mark.parametrize(
    ("requests", "code", "message"),
    [
        ([], "INTERNAL", FAILED + "error receiving the first message: EOF"),
        (
            [crypto_pb2.EncryptRequest(payload=payload(b"x", 0))],
            "INVALID_ARGUMENT",
            "invalid request: first message does not contain the required options",
        ),
        (
            [crypto_pb2.EncryptRequest(options=encryption(key_name=""))],
            "INVALID_ARGUMENT",
            "invalid request: missing property 'keyName' in the options message",
        ),
        (
            [crypto_pb2.EncryptRequest(options=encryption(key_wrap_algorithm=""))],
            "INVALID_ARGUMENT",
            "invalid request: missing property 'keyWrapAlgorithm' in the options message",
        ),
        (
            [crypto_pb2.EncryptRequest(options=encryption(component_name=""))],
            "INVALID_ARGUMENT",
            "invalid request: missing component name",
        ),
        (
            [crypto_pb2.EncryptRequest(options=encryption(component_name="none"))],
            "INVALID_ARGUMENT",
            "crypto provider none not found",
        ),
        (
            [crypto_pb2.EncryptRequest(options=encryption()), crypto_pb2.EncryptRequest(options=encryption())],
            "INTERNAL",
            FAILED + "options found in non-leading message",
        ),
        (
            [crypto_pb2.EncryptRequest(options=encryption(), payload=payload(b"x", 1))],
            "INTERNAL",
            FAILED + "invalid sequence number received: 1 (expected: 0)",
        ),
    ],
)
def test_what_is_refused_is_told_as_the_original_does(
    channel: Any, requests: list[crypto_pb2.EncryptRequest], code: str, message: str
) -> None:
    assert failure(lambda: encrypt(channel, *requests)) == (code, message)


def test_a_document_that_breaks_off_ends_with_an_error(channel: Any) -> None:
    document = b"".join(
        encrypt(channel, crypto_pb2.EncryptRequest(options=encryption(), payload=payload(b"x" * 1_000_000, 0)))
    )
    options = crypto_pb2.DecryptRequestOptions(component_name="files")

    cut = crypto_pb2.DecryptRequest(options=options, payload=payload(document[:-10], 0))
    assert failure(lambda: decrypt(channel, cut)) == (
        "INTERNAL",
        FAILED + "error processing segment 15: failed to decrypt segment",
    )


def test_a_client_that_says_nothing_is_not_waited_for_long(channel: Any) -> None:
    to_send: queue.Queue[crypto_pb2.EncryptRequest | None] = queue.Queue()
    call = channel.stream_stream(
        DAPR + "EncryptAlpha1", crypto_pb2.EncryptRequest.SerializeToString, crypto_pb2.EncryptResponse.FromString
    )(iter(to_send.get, None), timeout=20)

    told = ("INVALID_ARGUMENT", "invalid request: error waiting for first message: context deadline exceeded")
    assert failure(lambda: next(call)) == told
    to_send.put(None)


@pytest.mark.parametrize("name", ["GetKey", "Encrypt", "Decrypt", "WrapKey", "UnwrapKey", "Sign", "Verify"])
def test_the_subtle_api_is_off_as_in_releases_of_the_original(channel: Any, name: str) -> None:
    call = channel.unary_unary(f"{DAPR}Subtle{name}Alpha1")

    assert failure(lambda: call(b"", timeout=10)) == ("UNIMPLEMENTED", "this API is currently not implemented")
