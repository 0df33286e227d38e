"""The state API over gRPC: messages, codes, and the details of errors."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from tests.integration.grpc_app import DAPR
from tests.integration.harness import Sidecar, World
from tests.integration.state import stores

from pydapr.proto.dapr.proto.common.v1 import common_pb2
from pydapr.proto.dapr.proto.runtime.v1 import state_pb2
from pydapr.wire import details

Item = common_pb2.StateItem
Operation = state_pb2.TransactionalStateOperation
FIRST = common_pb2.StateOptions(concurrency=common_pb2.StateOptions.CONCURRENCY_FIRST_WRITE)
ETAG = common_pb2.Etag(value="old")


@pytest.fixture(scope="module")
def sidecar(shared_world: World) -> Sidecar:
    resources = (stores.component("mem", "state.in-memory"), stores.sqlite(shared_world))
    return stores.start(shared_world, *resources).await_ready()


@pytest.fixture
def channel(sidecar: Sidecar) -> Iterator[Any]:
    made = grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}")
    yield made
    made.close()


@pytest.fixture(params=["mem", "lite"])
def store(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def call(channel: Any, method: str, request: Message) -> bytes:
    answer: bytes = channel.unary_unary(DAPR + method)(request.SerializeToString(), timeout=10)
    return answer


def save(channel: Any, store: str, *items: Item) -> None:
    assert call(channel, "SaveState", state_pb2.SaveStateRequest(store_name=store, states=items)) == b""


def get(channel: Any, store: str, key: str) -> state_pb2.GetStateResponse:
    answer = call(channel, "GetState", state_pb2.GetStateRequest(store_name=store, key=key))
    return state_pb2.GetStateResponse.FromString(answer)


def refusal(channel: Any, method: str, request: Message) -> tuple[str, str, list[str]]:
    """Code, message and kinds of the details."""
    with pytest.raises(grpc.RpcError) as raised:
        call(channel, method, request)
    error: Any = raised.value
    packed = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
    kinds = [one.type_url.rpartition(".")[2] for one in details.decode_status(packed).details]
    return error.code().name, error.details(), kinds


def test_bytes_are_saved_read_and_deleted(channel: Any, store: str) -> None:
    save(
        channel, store, Item(key="raw", value=b"\x00\xff"), Item(key="two", value=b"2", metadata={"ttlInSeconds": "9"})
    )

    answer = get(channel, store, "raw")
    assert (answer.data, bool(answer.etag), dict(answer.metadata)) == (b"\x00\xff", True, {})
    assert "ttlExpireTime" in get(channel, store, "two").metadata

    request = state_pb2.DeleteStateRequest(store_name=store, key="raw", etag=common_pb2.Etag(value=answer.etag))
    assert call(channel, "DeleteState", request) == b""
    assert get(channel, store, "raw") == state_pb2.GetStateResponse()


def test_json_saved_by_one_face_is_read_by_the_other(channel: Any, sidecar: Sidecar, store: str) -> None:
    save(channel, store, Item(key="json", value=b'{"a": 1}', metadata={"contentType": "application/json"}))
    assert sidecar.call("GET", f"/v1.0/state/{store}/json").body == b'{"a": 1}'

    sidecar.call("POST", f"/v1.0/state/{store}", body=b'[{"key":"http","value":"text"}]')
    assert get(channel, store, "http").data == b'"text"'


def test_many_are_read_and_deleted(channel: Any, store: str) -> None:
    save(channel, store, *(Item(key=f"m{n}", value=b"%d" % n) for n in range(3)))
    request = state_pb2.GetBulkStateRequest(store_name=store, keys=["m2", "none", "m0"], parallelism=2)

    answer = state_pb2.GetBulkStateResponse.FromString(call(channel, "GetBulkState", request))
    assert [(item.key, item.data) for item in answer.items] == [("m2", b"2"), ("none", b""), ("m0", b"0")]

    states = [Item(key="m0"), Item(key="m2"), Item(key="none")]
    call(channel, "DeleteBulkState", state_pb2.DeleteBulkStateRequest(store_name=store, states=states))
    assert [get(channel, store, f"m{n}").data for n in range(3)] == [b"", b"1", b""]


def test_transaction_is_all_or_nothing(channel: Any, store: str) -> None:
    save(channel, store, Item(key="t1", value=b"1"), Item(key="t2", value=b"1"))
    operations = [
        Operation(operationType="upsert", request=Item(key="t1", value=b"2")),
        Operation(operationType="delete", request=Item(key="t2")),
    ]
    request = state_pb2.ExecuteStateTransactionRequest(storeName=store, operations=operations)
    assert call(channel, "ExecuteStateTransaction", request) == b""

    operations = [
        Operation(operationType="upsert", request=Item(key="t3", value=b"3")),
        Operation(operationType="upsert", request=Item(key="t1", value=b"3", etag=ETAG)),
    ]
    request = state_pb2.ExecuteStateTransactionRequest(storeName=store, operations=operations)
    code, message, kinds = refusal(channel, "ExecuteStateTransaction", request)

    assert (code, kinds) == ("INTERNAL", ["ErrorInfo"])
    assert message.startswith("error while executing state transaction: possible etag mismatch")
    assert [get(channel, store, f"t{n}").data for n in (1, 2, 3)] == [b"2", b"", b""]


def test_query_is_answered(channel: Any) -> None:
    save(channel, "lite", Item(key="q1", value=b'{"q":"x","n":2}'), Item(key="q2", value=b'{"q":"x","n":1}'))
    request = state_pb2.QueryStateRequest(
        store_name="lite", query='{"filter":{"EQ":{"q":"x"}},"sort":[{"key":"n"}],"page":{"limit":1}}'
    )

    answer = state_pb2.QueryStateResponse.FromString(call(channel, "QueryStateAlpha1", request))

    assert [(item.key, item.data) for item in answer.results] == [("q2", b'{"q":"x","n":1}')]
    assert answer.token


@pytest.mark.parametrize(
    ("method", "request_", "code", "message", "kinds"),
    [
        (
            "SaveState",
            state_pb2.SaveStateRequest(store_name="nope", states=[Item()]),
            "INVALID_ARGUMENT",
            "state store nope is not found",
            ["ErrorInfo"],
        ),
        (
            "SaveState",
            state_pb2.SaveStateRequest(store_name="mem", states=[Item(value=b"1")]),
            "INVALID_ARGUMENT",
            "state key cannot be empty",
            ["ErrorInfo"],
        ),
        (
            "GetState",
            state_pb2.GetStateRequest(store_name="mem", key="a||b"),
            "INVALID_ARGUMENT",
            "input key/keyPrefix 'a||b' can't contain '||'",
            ["BadRequest", "ResourceInfo", "ErrorInfo"],
        ),
        (
            "SaveState",
            state_pb2.SaveStateRequest(store_name="mem", states=[Item(key="k", etag=ETAG)]),
            "ABORTED",
            "failed saving state in state store mem: possible etag mismatch",
            ["ErrorInfo"],
        ),
        (
            "DeleteState",
            state_pb2.DeleteStateRequest(store_name="lite", key="k", etag=ETAG),
            "ABORTED",
            "failed deleting state with key k: possible etag mismatch",
            ["ErrorInfo"],
        ),
        (
            "DeleteBulkState",
            state_pb2.DeleteBulkStateRequest(store_name="lite", states=[Item(key="k", etag=ETAG), Item(key="l")]),
            "ABORTED",
            "failed deleting state in state store lite: possible etag mismatch",
            ["ErrorInfo"],
        ),
        (
            "QueryStateAlpha1",
            state_pb2.QueryStateRequest(store_name="mem", query="{}"),
            "INTERNAL",
            "state store does not support querying",
            ["ResourceInfo", "ErrorInfo"],
        ),
        (
            "QueryStateAlpha1",
            state_pb2.QueryStateRequest(store_name="lite", query="{"),
            "INTERNAL",
            "state store lite query failed: failed to parse JSON query body",
            ["ResourceInfo", "ErrorInfo"],
        ),
        (
            "ExecuteStateTransaction",
            state_pb2.ExecuteStateTransactionRequest(storeName="mem", operations=[Operation(operationType="odd")]),
            "UNIMPLEMENTED",
            "operation type odd not supported",
            ["ErrorInfo"],
        ),
        (
            "SaveState",
            state_pb2.SaveStateRequest(
                store_name="mem", states=[Item(key="k", value=b"{", metadata={"contentType": "application/json"})]
            ),
            "UNKNOWN",
            "the value of key k is no JSON",
            [],
        ),
    ],
)
def test_error_has_code_message_and_details(
    channel: Any, method: str, request_: Message, code: str, message: str, kinds: list[str]
) -> None:
    told = refusal(channel, method, request_)

    assert (told[0], told[2]) == (code, kinds)
    assert told[1].startswith(message)


def test_first_write_is_for_new_keys(channel: Any, store: str) -> None:
    save(channel, store, Item(key="first", value=b"1", options=FIRST))
    again = state_pb2.SaveStateRequest(store_name=store, states=[Item(key="first", value=b"2", options=FIRST)])

    assert refusal(channel, "SaveState", again)[0] == "ABORTED"
    assert get(channel, store, "first").data == b"1"
