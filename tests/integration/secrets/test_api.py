"""The secrets API of a sidecar over HTTP and gRPC."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from tests.conformance.vault import TOKEN, Vault
from tests.integration.grpc_app import DAPR, failure
from tests.integration.harness import Sidecar, World

from pydapr.proto.dapr.proto.runtime.v1 import secret_pb2

COMPONENT = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: {name}}}
spec:
  type: secretstores.{type}
  version: v1
  metadata: {metadata}
---
"""

CONFIGURATION = """
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: c}
spec:
  secrets:
    scopes:
    - {storeName: many, defaultAccess: deny, allowedSecrets: [open]}
    - {storeName: gone, defaultAccess: deny}
"""

PLAIN = {"a b": "blank", "a+b": "plus", "a/b": "slash", "html": "<&>", "ü": "ä", "deep": {"x": "y"}}

Channel = Callable[[Sidecar], Any]


@pytest.fixture(scope="module")
def vault() -> Iterator[Vault]:
    made = Vault()
    made.secrets = {"dapr/db": [{"user": "old"}, {"user": "new"}]}
    yield made
    made.close()


@pytest.fixture(scope="module")
def running(shared_world: World, vault: Vault) -> Sidecar:
    world = shared_world
    plain = world.write("plain.json", json.dumps(PLAIN))
    many = world.write("many.json", '{"open": {"user": "u", "password": "p"}, "closed": {"k": "v"}}')
    stores = {
        "plain": ("local.file", f"[{{name: secretsFile, value: {plain}}}]"),
        "many": ("local.file", f"[{{name: secretsFile, value: {many}}}, {{name: multiValued, value: true}}]"),
        "env": ("local.env", "[{name: prefix, value: PRE_}]"),
        "vault": (
            "hashicorp.vault",
            f"[{{name: vaultAddr, value: {vault.address}}}, {{name: vaultToken, value: {TOKEN}}}]",
        ),
    }
    text = "".join(COMPONENT.format(name=name, type=type_, metadata=rest) for name, (type_, rest) in stores.items())
    world.write("resources/stores.yaml", text)
    config = world.write("config.yaml", CONFIGURATION)
    flags = ("--resources-path", str(world.folder / "resources"), "--config", str(config))
    sidecar = world.daprd("secrets", None, *flags, environment={"PRE_REGION": "eu", "PRE_EMPTY": ""})
    return sidecar.await_ready()


@pytest.fixture
def sidecar(running: Sidecar) -> Iterator[Sidecar]:
    yield running
    running.disconnect()


@pytest.fixture
def channel(sidecar: Sidecar) -> Iterator[Any]:
    made = grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("path", "secret"),
    [
        ("plain/html", b'{"html":"\\u003c\\u0026\\u003e"}\n'),
        ("plain/a%20b", b'{"a b":"blank"}\n'),
        ("plain/a+b", b'{"a b":"blank"}\n'),
        ("plain/a%2Bb", b'{"a+b":"plus"}\n'),
        ("plain/a%2Fb/", b'{"a/b":"slash"}\n'),
        ("plain/%C3%BC", '{"ü":"ä"}\n'.encode()),
        ("plain/deep:x", b'{"deep:x":"y"}\n'),
        ("many/open", b'{"password":"p","user":"u"}\n'),
        ("many/bulk", b'{"open":{"password":"p","user":"u"}}\n'),
        ("env/REGION", b'{"REGION":"eu"}\n'),
        ("env/NOTHING", b'{"NOTHING":""}\n'),
        ("env/bulk", b'{"EMPTY":{"EMPTY":""},"REGION":{"REGION":"eu"}}\n'),
        ("vault/db", b'{"user":"new"}\n'),
        ("vault/db?metadata.version_id=1", b'{"user":"old"}\n'),
        ("vault/bulk", b'{"db":{"user":"new"}}\n'),
    ],
)
def test_secret_is_answered_as_the_original_does(sidecar: Sidecar, path: str, secret: bytes) -> None:
    reply = sidecar.call("GET", f"/v1.0/secrets/{path}")

    assert (reply.status, reply.get("content-type"), reply.body) == (200, "application/json", secret)


@pytest.mark.parametrize(
    ("path", "status", "code", "message"),
    [
        ("nowhere/x", 401, "ERR_SECRET_STORE_NOT_FOUND", "failed finding secret store with key nowhere"),
        ("nowhere/bulk", 401, "ERR_SECRET_STORE_NOT_FOUND", "failed finding secret store with key nowhere"),
        ("many/closed", 403, "ERR_PERMISSION_DENIED", 'access denied by policy to get "closed" from "many"'),
        (
            "plain/deep",
            500,
            "ERR_SECRET_GET",
            "failed getting secret with key deep from secret store plain: secret deep",
        ),
        ("vault/no", 500, "ERR_SECRET_GET", "from secret store vault: getSecret no failed secret key or version not"),
        ("plain/a/b", 404, "ERR_DIRECT_INVOKE", "failed getting app id"),
        ("plain", 404, "ERR_DIRECT_INVOKE", "failed getting app id"),
    ],
)
def test_error_is_answered_as_the_original_does(
    sidecar: Sidecar, path: str, status: int, code: str, message: str
) -> None:
    reply = sidecar.call("GET", f"/v1.0/secrets/{path}")
    told = json.loads(reply.body)

    assert (reply.status, told["errorCode"]) == (status, code)
    assert message in told["message"]


def test_secrets_are_read_over_grpc(channel: Any) -> None:
    one = secret_pb2.GetSecretRequest(store_name="vault", key="db", metadata={"version_id": "1"})
    answer = channel.unary_unary(DAPR + "GetSecret")(one.SerializeToString(), timeout=10)
    assert secret_pb2.GetSecretResponse.FromString(answer).data == {"user": "old"}

    bulk = secret_pb2.GetBulkSecretRequest(store_name="many")
    answer = channel.unary_unary(DAPR + "GetBulkSecret")(bulk.SerializeToString(), timeout=10)
    found = secret_pb2.GetBulkSecretResponse.FromString(answer).data
    assert {name: dict(secret.secrets) for name, secret in found.items()} == {"open": {"user": "u", "password": "p"}}


@pytest.mark.parametrize(
    ("store", "key", "code", "message"),
    [
        ("nowhere", "x", "INVALID_ARGUMENT", "failed finding secret store with key nowhere"),
        ("many", "closed", "PERMISSION_DENIED", 'access denied by policy to get "closed" from "many"'),
        ("plain", "no", "INTERNAL", "failed getting secret with key no from secret store plain: secret no not found"),
    ],
)
def test_error_over_grpc_is_that_of_the_original(channel: Any, store: str, key: str, code: str, message: str) -> None:
    request = secret_pb2.GetSecretRequest(store_name=store, key=key).SerializeToString()

    assert failure(lambda: channel.unary_unary(DAPR + "GetSecret")(request, timeout=10)) == (code, message)


def test_sidecar_without_a_store_says_so(world: World) -> None:
    bare = world.sidecar("bare")
    reply = bare.call("GET", "/v1.0/secrets/any/x")

    assert (reply.status, json.loads(reply.body)) == (
        500,
        {"errorCode": "ERR_SECRET_STORES_NOT_CONFIGURED", "message": "secret store is not configured"},
    )
    with grpc.insecure_channel(f"127.0.0.1:{bare.grpc}") as channel:
        call = channel.unary_unary(DAPR + "GetSecret")
        assert failure(lambda: call(b"", timeout=10)) == ("FAILED_PRECONDITION", "secret store is not configured")


def test_metadata_list_the_stores_with_their_capabilities(sidecar: Sidecar) -> None:
    listed = {one["name"]: one for one in sidecar.document("GET", "/v1.0/metadata")["components"]}

    assert list(listed) == ["plain", "many", "env", "vault"]
    assert listed["plain"] == {"name": "plain", "type": "secretstores.local.file", "version": "v1"}
    assert listed["vault"]["capabilities"] == ["MULTIPLE_KEY_VALUES_PER_SECRET"]
    gone = "Secrets configuration added for 'gone', but no matching secret store was found"
    assert gone in sidecar.messages()


def test_operations_and_errors_are_counted(world: World) -> None:
    path = world.write("s.json", '{"a": "b"}')
    store = COMPONENT.format(name="s", type="local.file", metadata=f"[{{name: secretsFile, value: {path}}}]")
    world.write("resources/s.yaml", store)
    kind = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\n"
    config = world.write("config.yaml", f"{kind}spec: {{metrics: {{recordErrorCodes: true}}}}\n")
    flags = ("--resources-path", str(world.folder / "resources"), "--config", str(config))
    sidecar = world.daprd("counted", None, *flags).await_ready()

    for path_of_secret in ("a", "a", "no", "bulk"):
        sidecar.call("GET", f"/v1.0/secrets/s/{path_of_secret}")
    sidecar.call("GET", "/v1.0/secrets/nowhere/a")

    told = sidecar.call("GET", "/metrics", port=sidecar.metrics).body.decode()
    labels = f'{{app_id="{sidecar.app_id}",component="s",namespace="",operation="%s",success="%s"}} %d'
    for operation, success, number in (("get", "true", 2), ("get", "false", 1), ("bulk_get", "true", 1)):
        assert "dapr_component_secret_count" + labels % (operation, success, number) in told
        assert "dapr_component_secret_latencies_count" + labels % (operation, success, number) in told
    for code in ("ERR_SECRET_GET", "ERR_SECRET_STORE_NOT_FOUND"):
        counted = f'{{app_id="{sidecar.app_id}",category="secret",error_code="{code}"}} 1'
        assert f"dapr_error_code_total{counted}" in told


def test_secrets_are_not_on_the_public_port(world: World) -> None:
    path = world.write("s.json", '{"a": "b"}')
    store = COMPONENT.format(name="s", type="local.file", metadata=f"[{{name: secretsFile, value: {path}}}]")
    world.write("resources/s.yaml", store)
    from tests.integration import harness

    port = harness.free_port()
    flags = ("--resources-path", str(world.folder / "resources"), "--dapr-public-port", str(port))
    sidecar = world.daprd("public", None, *flags).await_ready()

    assert sidecar.call("GET", "/v1.0/secrets/s/a").status == 200
    assert sidecar.call("GET", "/v1.0/metadata", port=port).status == 200
    assert sidecar.call("GET", "/v1.0/secrets/s/a", port=port).status == 404


def test_api_can_be_closed(world: World) -> None:
    denied = "[{name: secrets, version: v1, protocol: http}, {name: secrets, version: v1, protocol: grpc}]"
    kind = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\n"
    config = world.write("config.yaml", f"{kind}spec: {{api: {{denied: {denied}}}}}\n")
    sidecar = world.daprd("closed", None, "--config", str(config)).await_ready()

    assert sidecar.call("GET", "/v1.0/secrets/s/a").status == 404
    with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc}") as channel:
        assert failure(lambda: channel.unary_unary(DAPR + "GetSecret")(b"", timeout=10))[0] == "UNIMPLEMENTED"
