"""The lock API of a sidecar over HTTP and gRPC."""

import json
import signal
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from tests.integration.grpc_app import DAPR, failure
from tests.integration.harness import Sidecar, World, eventually

from pydapr.proto.dapr.proto.runtime.v1 import lock_pb2

COMPONENT = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: {name}}}
spec:
  type: lock.sqlite
  version: v1
  metadata:
  - {{name: connectionString, value: "{place}"}}
  - {{name: keyPrefix, value: "{prefix}"}}
---
"""


def component(world: World, name: str, prefix: str = "appid") -> str:
    return COMPONENT.format(name=name, place=world.folder / "locks.db", prefix=prefix)


def sidecar_of(world: World, name: str, *prefixes: str) -> Sidecar:
    text = "".join(component(world, prefix, prefix) for prefix in prefixes or ("appid",))
    world.write(f"resources-{name}/locks.yaml", text)
    return world.daprd(name, None, "--resources-path", str(world.folder / f"resources-{name}")).await_ready()


@pytest.fixture(scope="module")
def running(shared_world: World) -> Sidecar:
    return sidecar_of(shared_world, "locks", "appid", "name", "none", "shared")


@pytest.fixture
def sidecar(running: Sidecar) -> Iterator[Sidecar]:
    yield running
    running.disconnect()


def post(sidecar: Sidecar, path: str, body: object) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = sidecar.call("POST", f"/v1.0-alpha1/{path}", body=data)
    assert reply.get("content-type") == "application/json"
    return reply.status, json.loads(reply.body)


def lock(sidecar: Sidecar, resource: str, owner: str, seconds: int = 60, store: str = "appid") -> bool:
    status, told = post(
        sidecar, f"lock/{store}", {"resourceId": resource, "lockOwner": owner, "expiryInSeconds": seconds}
    )
    assert status == 200, told
    assert list(told) == ["success"]
    return bool(told["success"])


def unlock(sidecar: Sidecar, resource: str, owner: str, store: str = "appid") -> int:
    status, told = post(sidecar, f"unlock/{store}", {"resourceId": resource, "lockOwner": owner})
    assert status == 200, told
    assert list(told) == ["status"]
    return int(told["status"])


def test_a_lock_is_taken_refused_and_given_back(sidecar: Sidecar) -> None:
    assert lock(sidecar, "a", "me") is True
    assert lock(sidecar, "a", "you") is False
    assert lock(sidecar, "a", "me") is False
    assert unlock(sidecar, "a", "you") == 2
    assert unlock(sidecar, "a", "me") == 0
    assert unlock(sidecar, "a", "me") == 1
    assert lock(sidecar, "a", "you") is True
    assert unlock(sidecar, "a", "you") == 0


def test_a_lock_ends_with_its_time(sidecar: Sidecar) -> None:
    assert lock(sidecar, "b", "me", seconds=1) is True
    assert lock(sidecar, "b", "you") is False
    eventually(lambda: lock(sidecar, "b", "you"), "the lock is free")
    assert unlock(sidecar, "b", "me") == 2
    assert unlock(sidecar, "b", "you") == 0


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "message"),
    [
        (
            "lock/none-such",
            {"resourceId": "a", "lockOwner": "b", "expiryInSeconds": 1},
            400,
            "ERR_LOCK_STORE_NOT_FOUND",
            "lock store none-such not found",
        ),
        (
            "unlock/none-such",
            {"resourceId": "a", "lockOwner": "b"},
            400,
            "ERR_LOCK_STORE_NOT_FOUND",
            "lock store none-such not found",
        ),
        ("lock/appid", b"", 400, "ERR_MALFORMED_REQUEST", "ExpiryInSeconds is not positive in lock store appid"),
        (
            "lock/appid",
            {"expiryInSeconds": -1},
            400,
            "ERR_MALFORMED_REQUEST",
            "ExpiryInSeconds is not positive in lock store appid",
        ),
        ("lock/appid", {"expiryInSeconds": 1}, 400, "ERR_MALFORMED_REQUEST", "ResourceId is empty in lock store appid"),
        (
            "lock/appid",
            {"expiryInSeconds": "1", "resource_id": "a"},
            400,
            "ERR_MALFORMED_REQUEST",
            "LockOwner is empty in lock store appid",
        ),
        ("unlock/appid", {"more": 1}, 400, "ERR_MALFORMED_REQUEST", "ResourceId is empty in lock store appid"),
        ("unlock/appid", {"resourceId": "a"}, 400, "ERR_MALFORMED_REQUEST", "LockOwner is empty in lock store appid"),
        (
            "lock/appid",
            {"resourceId": "a||b", "lockOwner": "b", "expiryInSeconds": 1},
            500,
            "ERR_TRY_LOCK",
            "failed to try acquiring lock: input key/keyPrefix 'a||b' can't contain '||'",
        ),
        (
            "unlock/appid",
            {"resourceId": "a||b", "lockOwner": "b"},
            500,
            "ERR_UNLOCK",
            "failed to release lock: input key/keyPrefix 'a||b' can't contain '||'",
        ),
    ],
)
def test_error_is_answered_as_the_original_does(
    sidecar: Sidecar, path: str, body: object, status: int, code: str, message: str
) -> None:
    assert post(sidecar, path, body) == (status, {"errorCode": code, "message": message})


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"expiryInSeconds": "x"}', b'{"expiryInSeconds": 1.5}', b'{"lockOwner": 1}']
)
def test_a_body_that_is_none_is_refused(sidecar: Sidecar, body: bytes) -> None:
    status, told = post(sidecar, "lock/appid", body)

    assert (status, told["errorCode"]) == (400, "ERR_MALFORMED_REQUEST")
    assert told["message"].startswith("failed deserializing HTTP body: ")


def test_without_any_store(world: World) -> None:
    sidecar = world.sidecar("bare")

    refused = {"errorCode": "ERR_LOCK_STORE_NOT_CONFIGURED", "message": "lock store is not configured"}
    body = {"resourceId": "a", "lockOwner": "b", "expiryInSeconds": 1}
    assert post(sidecar, "lock/x", body) == (500, refused)
    assert post(sidecar, "unlock/x", body) == (500, refused)
    with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}") as channel:
        call = channel.unary_unary(DAPR + "UnlockAlpha1")
        assert failure(lambda: call(b"", timeout=10)) == ("FAILED_PRECONDITION", refused["message"])


def test_locks_over_grpc_are_those_over_http(sidecar: Sidecar) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}") as channel:
        lock_call = channel.unary_unary(DAPR + "TryLockAlpha1", None, lock_pb2.TryLockResponse.FromString)
        unlock_call = channel.unary_unary(DAPR + "UnlockAlpha1", None, lock_pb2.UnlockResponse.FromString)
        wanted = lock_pb2.TryLockRequest(store_name="appid", resource_id="g", lock_owner="me", expiry_in_seconds=60)
        given = lock_pb2.UnlockRequest(store_name="appid", resource_id="g", lock_owner="me")

        assert lock_call(wanted.SerializeToString(), timeout=10).success is True
        assert lock_call(wanted.SerializeToString(), timeout=10).success is False
        assert lock(sidecar, "g", "you") is False
        assert unlock(sidecar, "g", "you") == lock_pb2.UnlockResponse.LOCK_BELONGS_TO_OTHERS
        assert unlock_call(given.SerializeToString(), timeout=10).status == lock_pb2.UnlockResponse.SUCCESS
        assert unlock_call(given.SerializeToString(), timeout=10).status == lock_pb2.UnlockResponse.LOCK_DOES_NOT_EXIST
        wrong = lock_pb2.TryLockRequest(store_name="no", resource_id="g", lock_owner="me", expiry_in_seconds=60)
        told = failure(lambda: lock_call(wrong.SerializeToString(), timeout=10))
        assert told == ("INVALID_ARGUMENT", "lock store no not found")


def test_prefixes_say_who_shares_locks(sidecar: Sidecar, shared_world: World) -> None:
    other = sidecar_of(shared_world, "other", "appid", "name", "none", "shared")

    for store, is_shared in (("appid", False), ("name", True), ("none", True), ("shared", True)):
        assert lock(sidecar, "p", "me", store=store)
        assert lock(other, "p", "you", store=store) is not is_shared
        assert unlock(sidecar, "p", "me", store=store) == 0
    assert unlock(other, "p", "you") == 0
    other.stop()


def test_a_prefix_with_bars_ends_the_start(world: World) -> None:
    world.write("resources/locks.yaml", component(world, "appid", "a||b"))
    sidecar = world.daprd("bad", None, "--resources-path", str(world.folder / "resources"))

    assert sidecar.exit_code() == 1
    assert "failed to save lock keyprefix: input key/keyPrefix 'a||b' can't contain '||'" in sidecar.log


def test_a_lock_outlives_the_sidecar_that_took_it_until_its_time_is_over(world: World) -> None:
    first, second = sidecar_of(world, "first", "none"), sidecar_of(world, "second", "none")
    assert lock(first, "k", "me", seconds=3, store="none")
    assert lock(first, "l", "me", seconds=600, store="none")

    first.send_signal(signal.SIGKILL)
    first.exit_code()

    assert lock(second, "l", "you", store="none") is False
    assert unlock(second, "l", "me", store="none") == 0
    eventually(lambda: lock(second, "k", "you", store="none"), "the lock of the one that was killed is free")
