"""Secrets in other resources: metadata of components, headers and TLS of HTTP endpoints."""

import json
import os
import shutil
from pathlib import Path

import pytest
from tests.integration.endpoints.test_tls import make_pki
from tests.integration.harness import Sidecar, World

HEAD = "apiVersion: dapr.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\n"


def component(name: str, type_: str, metadata: str, rest: str = "") -> str:
    head = HEAD.format(kind="Component", name=name)
    return f"{head}spec:\n  type: {type_}\n  version: v1\n  metadata: {metadata}\n{rest}---\n"


def endpoint(name: str, base: str, rest: str) -> str:
    return f"{HEAD.format(kind='HTTPEndpoint', name=name)}spec:\n  baseUrl: {base}\n{rest}---\n"


def start(world: World, *resources: str, **environment: str) -> Sidecar:
    world.write("resources/all.yaml", "".join(resources))
    folder = str(world.folder / "resources")
    return world.daprd("secrets", world.app(), "--resources-path", folder, environment=environment)


def file_store(world: World, secrets: dict[str, str], name: str = "vault") -> str:
    path = world.write(f"{name}.json", json.dumps(secrets))
    return component(name, "secretstores.local.file", f"[{{name: secretsFile, value: {path}}}]")


def test_endpoint_gets_its_headers_from_stores_and_environment(world: World) -> None:
    outside = world.app()
    headers = (
        "  headers:\n"
        "  - {name: Authorization, secretKeyRef: {name: token, key: token}}\n"
        "  - {name: X-Short, secretKeyRef: {name: short}}\n"
        "  - {name: X-Region, envRef: REGION}\n"
        "auth: {secretStore: vault}\n"
    )
    secrets = file_store(world, {"token": "Bearer abc", "short": "s"})
    sidecar = start(world, endpoint("api", f"http://127.0.0.1:{outside.port}", headers), secrets, REGION="eu")

    assert sidecar.await_ready().call("GET", "/v1.0/invoke/api/method/x").status == 200

    told = [outside.last.get(name) for name in ("authorization", "x-short", "x-region")]
    assert told == ["Bearer abc", "s", "eu"]


@pytest.mark.parametrize(
    ("auth", "reason"),
    [
        (
            "auth: {secretStore: nowhere}\n",
            "key t of secret token in secret store nowhere, but that store is not loaded",
        ),
        ("auth: {secretStore: vault}\n", "secret store vault, but cannot be had: secret token not found"),
        ("", "but the resource names no store (auth.secretStore)"),
    ],
)
def test_endpoint_without_its_secret_is_never_called(world: World, auth: str, reason: str) -> None:
    outside = world.app()
    headers = "  headers:\n  - {name: X-Token, secretKeyRef: {name: token, key: t}}\n"
    base = f"http://127.0.0.1:{outside.port}"
    sidecar = start(world, endpoint("api", base, headers + auth), file_store(world, {"a": "b"})).await_ready()

    reply = sidecar.call("GET", "/v1.0/invoke/api/method/x")

    assert (reply.status, not outside.seen) == (500, True)
    assert reason in json.loads(reply.body)["message"]
    assert reason in sidecar.log and str(world.folder / "resources" / "all.yaml") in sidecar.log


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")
def test_endpoint_gets_trust_and_certificate_from_a_store(world: World) -> None:
    from tests.integration.secrets.tls_server import TlsServer

    pki = make_pki(world.folder / "pki")
    names = {"rootCA": "root.pem", "certificate": "leaf.pem", "privateKey": "leaf.key"}
    secrets = {name: (pki / file).read_text() for name, file in names.items()}
    refs = "".join(f"    {name}: {{secretKeyRef: {{name: {name}, key: {name}}}}}\n" for name in names)
    rest = f"  clientTLS:\n{refs}auth: {{secretStore: vault}}\n"
    with TlsServer(pki) as port:
        resources = endpoint("api", f"https://localhost:{port}", rest), file_store(world, secrets)
        sidecar = start(world, *resources).await_ready()
        reply = sidecar.call("GET", "/v1.0/invoke/api/method/x")

    assert (reply.status, reply.body) == (200, b"hello")


def test_store_of_one_component_may_get_its_own_metadata_from_another(world: World) -> None:
    direction = world.write("second.json", '{"direction": "both"}')
    up = component(
        "up",
        "middleware.http.uppercase",
        "[{name: direction, secretKeyRef: {name: direction, key: direction}}]",
        "auth: {secretStore: second}\n",
    )
    second = component(
        "second",
        "secretstores.local.file",
        "[{name: secretsFile, secretKeyRef: {name: path, key: path}}]",
        "auth: {secretStore: first}\n",
    )
    kind = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\n"
    handlers = "spec: {httpPipeline: {handlers: [{name: up, type: middleware.http.uppercase}]}}\n"
    config = world.write("config.yaml", kind + handlers)
    world.write("resources/all.yaml", up + second + file_store(world, {"path": str(direction)}, "first"))
    flags = ("--resources-path", str(world.folder / "resources"), "--config", str(config))
    sidecar = world.daprd("chain", world.app(), *flags).await_ready()

    assert sidecar.call("POST", f"/v1.0/invoke/{sidecar.app_id}/method/x", body=b"hello").body == b"HELLO"
    assert json.loads(sidecar.call("GET", "/v1.0/secrets/second/direction").body) == {"DIRECTION": "BOTH"}


def test_store_that_does_not_open_in_time_ends_the_start(world: World) -> None:
    pipe = world.folder / "pipe"
    os.mkfifo(pipe)  # who reads it waits for somebody to write
    metadata = f"[{{name: secretsFile, value: {pipe}}}]\n  initTimeout: 100ms"
    sidecar = start(world, component("slow", "secretstores.local.file", metadata))

    assert sidecar.exit_code() == 1
    assert "init timeout for component slow (secretstores.local.file/v1)" in sidecar.log


def test_metadata_may_refer_to_the_app_and_its_namespace(world: World) -> None:
    name = f"default.{world.app_id('secrets')}-{world.app_id('secrets')}.json"
    path = world.write(name, '{"a": "b"}')
    metadata = f"[{{name: secretsFile, value: '{path.parent}/{{namespace}}-{{appID}}.json'}}]"
    sidecar = start(world, component("s", "secretstores.local.file", metadata)).await_ready()

    assert sidecar.call("GET", "/v1.0/secrets/s/a").status == 200


def test_component_whose_store_is_not_there_is_left_out_and_the_sidecar_runs(world: World) -> None:
    up = component(
        "up",
        "middleware.http.uppercase",
        "[{name: direction, secretKeyRef: {name: d, key: k}}]",
        "auth: {secretStore: nowhere}\n",
    )
    sidecar = start(world, up, file_store(world, {"a": "b"})).await_ready()

    assert [one["name"] for one in sidecar.document("GET", "/v1.0/metadata")["components"]] == ["vault"]
    assert "Component up references a secret store that isn't loaded: nowhere" in sidecar.messages()
    reason = "direction is to come from key k of secret d in secret store nowhere, but that store is not loaded"
    assert any(reason in line and "all.yaml" in line for line in sidecar.messages())


def test_pipeline_does_not_go_without_middleware_whose_secret_store_is_missing(world: World) -> None:
    up = component(
        "up",
        "middleware.http.uppercase",
        "[{name: direction, secretKeyRef: {name: d, key: k}}]",
        "auth: {secretStore: nowhere}\n",
    )
    kind = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\n"
    handlers = "spec: {httpPipeline: {handlers: [{name: up, type: middleware.http.uppercase}]}}\n"
    config = world.write("config.yaml", kind + handlers)
    world.write("resources/all.yaml", up)
    flags = ("--resources-path", str(world.folder / "resources"), "--config", str(config))
    sidecar = world.daprd("guarded", None, *flags)

    assert sidecar.exit_code() == 1
    assert "middleware up could not be opened, and is not passed over" in sidecar.log


def _hidden(folder: Path) -> dict[str, str]:
    """Secrets in forms that errors like to quote."""
    return {
        "number": "12-n0t-a-number-hush",
        "quoted": 'q"uo\\ted-hush',
        "lines": "one-hush\ntwo-hush",
        "path": str(folder / "no-such-hush-file.json"),
        "url": "http://user-hush:password-hush@127.0.0.1:1",
        "pem": "-----BEGIN CERTIFICATE-----\nhush\n-----END CERTIFICATE-----",
        "token": "tok\x01en-hush",
    }


def test_no_secret_is_in_any_line_of_the_log_or_text_of_an_error(world: World) -> None:
    secrets = _hidden(world.folder)
    ref = "{{name: {0}, secretKeyRef: {{name: {1}, key: {1}}}}}"
    auth = "auth: {secretStore: vault}\n"
    spec = "  ignoreErrors: true\n" + auth
    broken = [
        component("rate", "middleware.http.ratelimit", f"[{ref.format('maxRequestsPerSecond', 'number')}]", spec),
        component("lines", "middleware.http.ratelimit", f"[{ref.format('maxRequestsPerSecond', 'lines')}]", spec),
        component("env", "middleware.http.ratelimit", "[{name: maxRequestsPerSecond, envRef: HIDDEN}]", spec),
        component("rule", "middleware.http.routerchecker", f"[{ref.format('rule', 'quoted')}]", spec),
        component("routes", "middleware.http.routealias", f"[{ref.format('routes', 'quoted')}]", spec),
        component("file", "secretstores.local.file", f"[{ref.format('secretsFile', 'path')}]", spec),
        component(
            "vault-url",
            "secretstores.hashicorp.vault",
            f"[{ref.format('vaultAddr', 'url')}, {ref.format('vaultToken', 'number')}]",
            spec,
        ),
        component("vault-token", "secretstores.hashicorp.vault", f"[{ref.format('vaultToken', 'token')}]", spec),
        component(
            "vault-pem",
            "secretstores.hashicorp.vault",
            f"[{ref.format('vaultToken', 'number')}, {ref.format('caPem', 'pem')}]",
            spec,
        ),
        component("kind", "secretstores.hashicorp.vault", f"[{ref.format('vaultValueType', 'number')}]", spec),
        endpoint("head", "http://127.0.0.1:1", f"  headers: [{ref.format('X-Key', 'lines')}]\n{auth}"),
        endpoint(
            "tls", "https://127.0.0.1:1", f"  clientTLS: {{rootCA: {{secretKeyRef: {{name: pem, key: pem}}}}}}\n{auth}"
        ),
        endpoint(
            "pair",
            "https://127.0.0.1:1",
            "  clientTLS: {certificate: {secretKeyRef: {name: pem, key: pem}}, "
            f"privateKey: {{secretKeyRef: {{name: lines, key: lines}}}}}}\n{auth}",
        ),
        endpoint("good", "http://127.0.0.1:1", f"  headers: [{ref.format('X-Key', 'number')}]\n{auth}"),
    ]
    world.write("config.yaml", "")
    world.write("resources/all.yaml", file_store(world, secrets) + "".join(broken))
    folder = str(world.folder / "resources")
    flags = ("--resources-path", folder, "--log-level", "debug", "--enable-api-logging")
    sidecar = world.daprd("quiet", None, *flags, environment={"HIDDEN": "en-hush-v"}).await_ready()

    answers = [sidecar.call("GET", f"/v1.0/invoke/{name}/method/x") for name in ("head", "tls", "pair", "good")]
    answers += [sidecar.call("GET", f"/v1.0/secrets/{path}") for path in ("vault-url/x", "vault-url/bulk", "vault/no")]
    assert sidecar.call("GET", "/v1.0/secrets/vault/number").status == 200
    answers.append(sidecar.call("GET", "/v1.0/metadata"))
    assert sidecar.stop() == 0

    assert [answer.status for answer in answers] == [500] * 7 + [200]
    told = "\n".join([sidecar.log, *(answer.body.decode() for answer in answers)])
    assert "ratelimit" in told and "vault-token" in told and "HTTPEndpoint pair" in told
    assert [line for line in told.splitlines() if "hush" in line] == []
