"""Does one thing with the official SDK as a user would, and prints what came of it as one line of JSON.

usage: calls.py TASK APP_ID [ADDRESS]     the SDK's own environment variables say where the sidecar is
"""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import grpc
from dapr.aio.clients import DaprClient as AsyncClient
from dapr.clients import DaprClient
from dapr.clients.exceptions import DaprHttpError
from dapr.clients.grpc._request import TransactionalStateOperation, TransactionOperationType
from dapr.clients.grpc._state import StateItem
from dapr.conf import settings

TARGET = sys.argv[2]
ADDRESS = sys.argv[3] if len(sys.argv) > 3 else None


def describe(answer: Any) -> dict[str, Any]:
    return {
        "data": answer.text(),
        "type": answer.content_type,
        "status": answer.status_code,
        "headers": {key: str(value) for key, value in answer.headers.items()},
    }


def invoke() -> Any:
    with DaprClient(ADDRESS) as client:
        told = (("mine", "yes"),)
        kind = "application/json"
        posted = client.invoke_method(TARGET, "echo", b'{"n": 1}', kind, http_verb="POST", metadata=told)
        large = client.invoke_method(TARGET, "echo", b"x" * 1_000_000, "text/plain", http_verb="POST")
        return {"posted": describe(posted), "large": len(large.data)}


def get() -> Any:
    with DaprClient(ADDRESS) as client:
        return describe(client.invoke_method(TARGET, "list", "", http_verb="GET", http_querystring=(("q", "1 é"),)))


def refused() -> Any:
    with DaprClient(ADDRESS) as client:
        try:
            client.invoke_method(TARGET, "refuse", "", http_verb="POST")
        except DaprHttpError as wrong:
            return {"code": wrong.error_code, "status": wrong.status_code, "text": str(wrong)}
        except grpc.RpcError as wrong:
            return {"code": wrong.code().name, "text": wrong.details()}
    return None


def metadata() -> Any:
    with DaprClient(ADDRESS) as client:
        client.set_metadata("colour", "red and green")
        got = client.get_metadata()
        return {"id": got.application_id, "colour": got.extended_metadata["colour"]}


def shutdown() -> Any:
    with DaprClient(ADDRESS) as client:
        client.shutdown()
    return True


def proxied() -> Any:
    """As the SDK's own example does it: a plain gRPC client, and `dapr-app-id` says for whom it is."""
    port = settings.DAPR_GRPC_PORT
    told: tuple[tuple[str, str], ...] = (("dapr-app-id", TARGET), ("mine", "yes"))
    if settings.DAPR_API_TOKEN:
        told += (("dapr-api-token", str(settings.DAPR_API_TOKEN)),)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        say = channel.unary_unary("/test.Echo/Say")
        answer, call = say.with_call(b"hello", timeout=20, metadata=told)
        repeat = channel.stream_stream("/test.Echo/Repeat")
        pieces = [piece.decode() for piece in repeat(iter([b"a", b"b"]), timeout=20, metadata=told)]
        try:
            say(b"refuse", timeout=20, metadata=told)
            refusal = ""
        except grpc.RpcError as wrong:
            refusal = f"{wrong.code().name}: {wrong.details()}"
        return {
            "answer": answer.decode(),
            "told": dict(call.initial_metadata())["told"],
            "pieces": pieces,
            "refusal": refusal,
        }


async def _together() -> Any:
    async with AsyncClient(ADDRESS) as client:
        await client.wait(10)
        await client.set_metadata("colour", "blue")
        got = await client.get_metadata()
        calls = [client.invoke_method(TARGET, "echo", str(n), content_type="text/plain") for n in range(50)]
        answers = await asyncio.gather(*calls)
        return {
            "id": got.application_id,
            "colour": got.extended_metadata["colour"],
            "in_order": [answer.text() for answer in answers] == [str(n) for n in range(50)],
        }


def together() -> Any:
    return asyncio.run(_together())


def _text(data: bytes | str) -> str:
    return data.decode() if isinstance(data, bytes) else data


def state() -> Any:
    """What the SDK's own example of state management does; TARGET is the store."""
    told: dict[str, Any] = {}
    with DaprClient(ADDRESS) as client:
        client.save_state(TARGET, "key_1", "value_1")
        got = client.get_state(TARGET, "key_1")
        told["first"] = got.data.decode()
        try:
            client.save_state(TARGET, "key_1", "value_2", etag="9999")
        except grpc.RpcError as wrong:
            told["etag"] = wrong.code().name
        client.save_state(TARGET, "key_1", "value_3", etag=got.etag)
        client.save_bulk_state(TARGET, [StateItem("key_2", "two"), StateItem("key_3", b"\x00three")])
        items = client.get_bulk_state(TARGET, ["key_1", "key_2", "key_3", "none"]).items
        told["many"] = [_text(item.data) for item in items]
        operations = [
            TransactionalStateOperation("key_4", "four"),
            TransactionalStateOperation("key_2", "", operation_type=TransactionOperationType.delete),
        ]
        client.execute_state_transaction(TARGET, operations)
        person, kind = json.dumps({"state": "WA", "id": 7}), {"contentType": "application/json"}
        client.save_state(TARGET, "person", person, state_metadata=kind)
        found = client.query_state(TARGET, '{"filter": {"EQ": {"state": "WA"}}}').results
        told["query"] = [(item.key, json.loads(item.value)) for item in found]
        client.delete_state(TARGET, "key_1")
        left = client.get_bulk_state(TARGET, ["key_1", "key_2", "key_4"]).items
        told["left"] = [_text(item.data) for item in left]
    return told


TASKS: dict[str, Callable[[], Any]] = {
    task.__name__: task for task in (invoke, get, refused, metadata, shutdown, proxied, together, state)
}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(TASKS[sys.argv[1]]()) + "\n")
