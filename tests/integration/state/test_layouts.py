"""State that one kind of sidecar has written is read, guarded and changed by the other, in stores on real servers.

Runs when PYDAPR_ORIGINAL names a folder with the original executables.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping

import grpc
import pytest
from tests.conformance import mysql_servers, postgresql_servers, redis_servers, servers
from tests.integration import harness
from tests.integration.harness import Sidecar, World
from tests.integration.state.test_grpc import call, get

from pydapr.proto.dapr.proto.common.v1 import common_pb2
from pydapr.proto.dapr.proto.runtime.v1 import state_pb2

pytestmark = pytest.mark.skipif(not harness.ORIGINAL, reason="PYDAPR_ORIGINAL names no original executables")

PROGRAMS = {"ours": harness.OURS, "original": [os.path.join(harness.ORIGINAL, "daprd")]}
STORE = "/v1.0/state/store"
VALUES: Mapping[str, object] = {"object": {"a": [1, 2.5, None, "grüße"]}, "text": "plain", "number": 7, "list": [True]}


def redis(mark: str) -> Mapping[str, str]:
    metadata, _ = servers.shared(redis_servers.alone)
    return {**metadata, "redisDB": "1" if mark == "ours" else "2"}


def postgresql(mark: str) -> Mapping[str, str]:
    return {
        "connectionString": postgresql_servers.url(),
        "tableName": f"{mark}_state",
        "metadataTableName": f"{mark}_about",
    }


def postgresql_v2(mark: str) -> Mapping[str, str]:
    return {
        "connectionString": postgresql_servers.url(),
        "tablePrefix": f"{mark}_v2_",
        "metadataTableName": f"{mark}_about_v2",
    }


def mysql(mark: str) -> Mapping[str, str]:
    metadata, _ = mysql_servers.alone()
    return {**metadata, "schemaName": f"{mark}_schema"}


STORES: Mapping[str, tuple[str, Callable[[str], Mapping[str, str]]]] = {
    "state.redis": ("v1", redis),
    "state.postgresql": ("v1", postgresql),
    "state.postgresql v2": ("v2", postgresql_v2),
    "state.mysql": ("v1", mysql),
}


@pytest.fixture(scope="module", autouse=True)
def no_server_stays() -> Iterator[None]:
    yield
    servers.stop_all()


class Pair:
    """Two sidecars on one store, whose tables the first of them has made."""

    def __init__(self, world: World, type_: str, first: str) -> None:
        version, metadata = STORES[type_]
        component = {
            "apiVersion": "dapr.io/v1alpha1",
            "kind": "Component",
            "metadata": {"name": "store"},
            "spec": {
                "type": type_.partition(" ")[0],
                "version": version,
                "metadata": [
                    {"name": name, "value": value} for name, value in {**metadata(first), "keyPrefix": "name"}.items()
                ],
            },
        }
        world.write("resources/store.yaml", json.dumps(component))
        self.sidecars: dict[str, Sidecar] = {}
        for name in sorted(PROGRAMS, key=lambda name: name != first):
            flags = ("--resources-path", str(world.folder / "resources"))
            self.sidecars[name] = world.daprd(f"{name}-app", None, *flags, program=PROGRAMS[name]).await_ready()

    def close(self) -> None:
        for sidecar in self.sidecars.values():
            sidecar.disconnect()


@pytest.fixture(params=[(type_, first) for type_ in STORES for first in PROGRAMS], ids=" made by ".join)
def pair(request: pytest.FixtureRequest, world: World) -> Iterator[Pair]:
    made = Pair(world, *request.param)
    yield made
    made.close()


def save(sidecar: Sidecar, *requests: Mapping[str, object]) -> int:
    return int(sidecar.call("POST", STORE, body=json.dumps(requests).encode()).status)


def test_each_reads_guards_and_changes_what_the_other_wrote(pair: Pair) -> None:
    for writer, reader in (("ours", "original"), ("original", "ours")):
        one, other = pair.sidecars[writer], pair.sidecars[reader]
        ending = {"key": f"{writer}-ends", "value": "soon gone", "metadata": {"ttlInSeconds": "1000"}}
        assert (
            save(one, *({"key": f"{writer}-{name}", "value": value} for name, value in VALUES.items()), ending) == 204
        )

        for name, value in VALUES.items():
            assert json.loads(other.call("GET", f"{STORE}/{writer}-{name}").body) == value
        assert json.loads(other.call("GET", f"{STORE}/{writer}-ends").body) == "soon gone"

        key = f"{writer}-object"
        etag = other.call("GET", f"{STORE}/{key}").get("etag")
        assert etag == one.call("GET", f"{STORE}/{key}").get("etag")
        assert save(other, {"key": key, "value": "changed", "etag": etag}) == 204
        assert save(one, {"key": key, "value": "too late", "etag": etag}) == 409
        assert one.call("GET", f"{STORE}/{key}").body == b'"changed"'

        body = {
            "operations": [
                {"operation": "upsert", "request": {"key": f"{writer}-text", "value": {"in": "a transaction"}}},
                {"operation": "delete", "request": {"key": f"{writer}-number"}},
            ]
        }
        assert other.call("POST", f"{STORE}/transaction", body=json.dumps(body).encode()).status == 204
        assert json.loads(one.call("GET", f"{STORE}/{writer}-text").body) == {"in": "a transaction"}
        assert one.call("GET", f"{STORE}/{writer}-number").status == 204

        assert other.call("DELETE", f"{STORE}/{writer}-list").status == 204
        assert one.call("GET", f"{STORE}/{writer}-list").status == 204


def test_bytes_pass_and_first_write_holds_between_them(pair: Pair) -> None:
    first = common_pb2.StateOptions(concurrency=common_pb2.StateOptions.CONCURRENCY_FIRST_WRITE)
    for writer, reader in (("ours", "original"), ("original", "ours")):
        with (
            grpc.insecure_channel(f"127.0.0.1:{pair.sidecars[writer].grpc}") as one,
            grpc.insecure_channel(f"127.0.0.1:{pair.sidecars[reader].grpc}") as other,
        ):
            item = common_pb2.StateItem(key=f"{writer}-bytes", value=b"\x00\xffraw", options=first)
            request = state_pb2.SaveStateRequest(store_name="store", states=[item])
            call(one, "SaveState", request)

            assert get(other, "store", item.key).data == b"\x00\xffraw"
            with pytest.raises(grpc.RpcError):
                call(other, "SaveState", request)


def test_old_time_to_live_is_seen_by_the_other(pair: Pair) -> None:
    for writer, reader in (("ours", "original"), ("original", "ours")):
        one, other = pair.sidecars[writer], pair.sidecars[reader]
        request = {"key": f"{writer}-short", "value": 1, "metadata": {"ttlInSeconds": "1"}}
        assert save(one, request) == 204

        harness.eventually(
            lambda other=other, key=request["key"]: other.call("GET", f"{STORE}/{key}").status == 204,  # type: ignore[misc]
            "the value has ended",
        )
