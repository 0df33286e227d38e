"""No secret is in any line: what passes through a sidecar, and what it was started with, stays out of its log.

Everything is said at level debug, with API logging, metrics and traces on, while whatever can fail fails. What errors
of components quote is in `tests/integration/secrets/test_references.py`.
"""

import contextlib
from typing import Any

import grpc
import pytest
from tests.integration import http_wire
from tests.integration.grpc_app import DAPR, invocation
from tests.integration.harness import Sidecar, World, eventually

CONFIG = """
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: c}
spec:
  tracing:
    samplingRate: "1"
    stdout: true
  httpPipeline:
    handlers:
    - {name: sign, type: middleware.http.oauth2clientcredentials}
  accessControl:
    defaultAction: deny
"""

RESOURCES = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: sign}
spec:
  type: middleware.http.oauth2clientcredentials
  version: v1
  metadata:
  - {name: clientId, value: me}
  - {name: clientSecret, value: client-hush}
  - {name: scopes, value: a}
  - {name: tokenURL, value: "http://user:token-hush@127.0.0.1:1/token?key=url-hush"}
  - {name: headerName, value: authorization}
  - {name: endpointParamsQuery, value: "x=param-hush"}
  - {name: pathFilter, value: "/v1.0/invoke/signed/.*"}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: env}
spec: {type: secretstores.local.env, version: v1}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: vault}
spec:
  type: secretstores.hashicorp.vault
  version: v1
  metadata:
  - {name: vaultAddr, value: "http://127.0.0.1:1"}
  - {name: vaultToken, value: vault-hush}
---
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {name: gone}
spec:
  baseUrl: http://127.0.0.1:1
  headers: [{name: X-Key, value: endpoint-hush}]
---
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {name: bad}
spec:
  baseUrl: http://127.0.0.1:1
  headers: [{name: X-Key, value: "endpoint\\r\\n-hush"}]
---
"""

ENVIRONMENT = {
    "DAPR_API_TOKEN": "api-hush",
    "APP_API_TOKEN": "app-hush",
    "STORED": "stored-hush",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=otel-hush",
}
TOKEN = "dapr-api-token: api-hush"
SECRETS = ("Authorization: Bearer bearer-hush", "Cookie: session=cookie-hush", "X-Key: header-hush")
METADATA = (("dapr-api-token", "api-hush"), ("authorization", "bearer-hush"), ("x-key-bin", b"binary-hush"))

APP_ANSWERS = [
    http_wire.answer("500 Oh", "Set-Cookie: s=answered-hush", body=b"body-hush"),
    b"HTTP/1.1 200 OK\r\nX-Key: malformed\0-hush\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort-hush",
    b"hush",
    b"",
]

MALFORMED = [
    b"GET / HTTP/1.1\r\ndapr-api-token: api-hush\0\r\n\r\n",
    b"GET / HTTP/1.1\r\nAuthorization: a\r\n b-hush\r\n\r\n",
    b"GET /?key=query-hush\0 HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\ndapr-api-token: api-hush\r\nTransfer-Encoding: chunked\r\n\r\nzz-hush\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"long-hush" * 2000 + b"\r\n\r\n",
    b"\x16\x03\x01hush",
]


@pytest.fixture
def sidecar(world: World) -> Sidecar:
    config = world.write("config.yaml", CONFIG)
    world.write("resources/all.yaml", RESOURCES)
    folder = str(world.folder / "resources")
    flags = ("--resources-path", folder, "--config", str(config), "--log-level", "debug", "--enable-api-logging")
    return world.daprd("quiet", world.app(), *flags, environment=ENVIRONMENT).await_ready()


def over_http(world: World, sidecar: Sidecar) -> None:
    """Calls of all kinds, with the token and with wrong ones."""
    app = world.apps[0]
    own = f"/v1.0/invoke/{sidecar.app_id}/method/m?key=query-hush"
    targets = [own, "/v1.0/invoke/nobody/method/m?key=query-hush", "/v1.0/invoke/gone/method/m?key=query-hush"]
    targets += ["/v1.0/invoke/bad/method/m", "/v1.0/invoke/signed/method/m", "/v1.0/metadata"]
    targets += ["/v1.0/secrets/env/STORED", "/v1.0/secrets/env/bulk", "/v1.0/secrets/vault/x", "/nothing"]
    for target in targets:
        sidecar.call("POST" if "invoke" in target else "GET", target, TOKEN, *SECRETS, body=b"body-hush")
        sidecar.call("GET", target, "dapr-api-token: wrong-hush", *SECRETS)
    for answer in APP_ANSWERS:
        app.handler = http_wire.always(answer) if answer else lambda wire, _: wire.close()
        with contextlib.suppress(http_wire.Broken, OSError):
            sidecar.call("POST", own, TOKEN, *SECRETS, body=b"body-hush")
    for request in MALFORMED:
        client = sidecar.connect()
        with contextlib.suppress(OSError):
            client.send(request)
            while client.sock.recv(65536):
                pass


def over_grpc(sidecar: Sidecar) -> None:
    """The same by gRPC, and by what other sidecars call."""
    calls: list[tuple[str, bytes]] = [
        (DAPR + "InvokeService", invocation(sidecar.app_id, "m", b"body-hush")),
        (DAPR + "InvokeService", invocation("nobody", "m", b"body-hush")),
        (DAPR + "InvokeService", b"\x0a\xffbody-hush"),
        (DAPR + "GetSecret", b"\x0a\x03env\x12\x06STORED"),
        (DAPR + "GetSecret", b"\x0a\x05vault\x12\x01x"),
        (DAPR + "GetMetadata", b"body-hush"),
        ("/other.Service/Method", b"body-hush"),
        ("/dapr.proto.internals.v1.ServiceInvocation/CallLocal", b"body-hush"),
    ]
    for port in (sidecar.grpc, sidecar.internal):
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            for path, message in calls:
                for metadata in (METADATA, (("dapr-api-token", "wrong-hush"),)):
                    for target in ((), (("dapr-app-id", sidecar.app_id),)):
                        _try(channel, path, message, (*metadata, *target))


def _try(channel: Any, path: str, message: bytes, metadata: Any) -> None:
    with contextlib.suppress(grpc.RpcError):
        channel.unary_unary(path)(message, metadata=metadata, timeout=20)


def test_no_secret_is_in_any_line(world: World, sidecar: Sidecar) -> None:
    over_http(world, sidecar)
    over_grpc(sidecar)
    world.apps[0].close()
    url = f"/v1.0/invoke/{sidecar.app_id}/method/m?key=query-hush"
    assert sidecar.call("POST", url, TOKEN, *SECRETS, body=b"body-hush").status == 500
    page = sidecar.call("GET", "/metrics", port=sidecar.metrics).body.decode()
    eventually(lambda: "dapr.runtime" in sidecar.log, "the log is written")
    assert sidecar.stop() == 0

    log = sidecar.log
    assert "HTTP API Called" in log and "gRPC API Called" in log and "has denied access" in log
    assert [line for line in (log + page).splitlines() if "hush" in line] == []


def test_it_was_a_secret_that_was_passed(world: World, sidecar: Sidecar) -> None:
    """The app and who asks get what the log does not."""
    answer = sidecar.call("POST", f"/v1.0/invoke/{sidecar.app_id}/method/m", TOKEN, *SECRETS, body=b"body-hush")

    assert answer.body == b"body-hush"
    assert world.apps[0].last.get("authorization") == "Bearer bearer-hush"
    assert world.apps[0].last.all("dapr-api-token") == ["app-hush"]
    assert sidecar.call("GET", "/v1.0/secrets/env/STORED", TOKEN).body == b'{"STORED":"stored-hush"}'
