"""Access rules for callers that show who they are: whatever a path looks like, the app hears of what is allowed only.

The calls and their answers are those of the original's suite (v1.18.3, `daprd/serviceinvocation/*/reservedchars`),
which asks for them on Kubernetes. With `PYDAPR_ORIGINAL` the original stands on either side.
"""

import os
from collections.abc import Callable
from typing import Any

import pytest
from tests.integration import harness, http_wire
from tests.integration.grpc_app import DAPR, GrpcApp, failure, invocation
from tests.integration.harness import Sidecar
from tests.integration.http_wire import Message, Wire
from tests.integration.mtls.conftest import Mesh

Channel = Callable[[Sidecar], Any]

RULES = """
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {{name: rules}}
spec:
  accessControl:
    defaultAction: deny
    policies:
    - appId: {caller}
      namespace: default
      trustDomain: public
      defaultAction: deny
      operations:
      - {{name: /public, httpVerb: ["*"], action: allow}}
      - {{name: /posted/*, httpVerb: [POST], action: allow}}
      - {{name: /my.Service/Echo, action: allow}}
"""

ORIGINAL = [os.path.join(harness.ORIGINAL, "daprd")]
needs_original = pytest.mark.skipif(not harness.ORIGINAL, reason="PYDAPR_ORIGINAL names no original executables")
WAYS = [
    "ours-ours",
    pytest.param("ours-original", marks=needs_original),
    pytest.param("original-ours", marks=needs_original),
]

DENIED = "access control policy has denied access to id: spiffe://public/ns/default/{} operation: {} verb: {}"

OVER_HTTP = {
    "public": (200, "/public"),
    "PUBLIC": (200, "/PUBLIC"),
    "public///extra": (200, "/public/extra"),
    "admin%2F..%2Fpublic": (200, "/public"),
    "admin%2F..%2F..%2Fpublic": (200, "/public"),
    "a%2Fb%2Fc%2F..%2F..%2F..%2Fpublic": (200, "/public"),
    "..%2Fpublic": (200, "/public"),
    "admin/../public": (200, "/public"),
    "admin": (403, "admin"),
    "public%23../../admin": (403, "admin"),
    "admin%25stream": (403, "admin%stream"),
    "admin%22stream": (403, 'admin"stream'),
    "admin*stream": (403, "admin*stream"),
    "admin%5C..%5Cpublic": (403, "admin\\..\\public"),
    "admin%2F..%5C..%2Fpublic": (403, "admin/..\\../public"),
    "public%23%2F..%2Fadmin": (403, "admin"),
    "public%3F%2F..%2Fadmin": (403, "admin"),
    "public%23%00%2F..%2Fadmin": (403, "admin"),
    "public%25%2F..%2Fadmin": (403, "admin"),
    "public%0D/../admin": (403, "admin"),
    "admin?public": (403, "admin"),
    "admin;/public": (403, "admin;/public"),
    "posted/x": (403, "posted/x"),
    "admin%3Fignored": (500, "forbidden character"),
    "admin%00public": (500, "forbidden character"),
    "admin%23%3F%25bypass": (500, "forbidden character"),
}
"""What is asked for; the status, and then the path that the app sees, or the operation that is denied."""

OVER_GRPC = {
    "public": "public",
    "/public": "/public",
    "admin/../public": "public",
    "admin/../../public": "public",
    "/admin%0D/../public": "/public",
    "admin%2Fsecret/../public": "public",
    "admin": None,
    "/PUBLIC": None,
    "public/../unauthorized": None,
    "public%/../admin": None,
    "/public%23/../unauthorized": None,
    "admin%2F..%2Fpublic": None,
    "admin\\..\\public": None,
    "/public;../../admin": None,
    "/admin\uff0f..\uff0fpublic": None,
    "public/../admin%2Fsecret": None,
    "public#/../admin": None,
    "public?/../admin": None,
    "admin\0public": None,
    "/admin\t/../public": None,
    "/admin\r/../public": None,
    "/admin\n/../public": None,
}
"""What is asked for, and what the app is asked for then, if anything."""


def path(wire: Wire, request: Message) -> None:
    """An app that answers with the path it sees."""
    request.body = b"".join(wire.pieces())
    wire.send(http_wire.answer(body=request.target.encode()))


def refused(call: Any, request: bytes) -> str:
    """The code of the error that a call ends with."""
    return failure(lambda: call(request, timeout=20))[0]


def pair(mesh: Mesh, way: str, app: Any, *flags: str) -> tuple[Sidecar, Sidecar]:
    """A caller, and a callee with rules for it."""
    by, to = (ORIGINAL if kind == "original" else None for kind in way.split("-"))
    rules = mesh.world.write("rules.yaml", RULES.format(caller=mesh.world.app_id("caller")))
    callee = mesh.daprd("callee", app, "--config", str(rules), *flags, program=to)
    caller = mesh.daprd("caller", None, program=by)
    return caller.await_ready(), callee.await_ready()


@pytest.mark.parametrize("way", WAYS)
def test_paths_over_http(mesh: Mesh, way: str) -> None:
    app = mesh.world.app(path)
    caller, callee = pair(mesh, way, app)

    wrong = {}
    for method, (status, told) in OVER_HTTP.items():
        answer = caller.call("GET", f"/v1.0/invoke/{callee.app_id}/method/{method}")
        text = told if status != 403 else DENIED.format(caller.app_id, told, "GET").replace("\\", "\\\\")
        text = text.replace('n"s', 'n\\"s')
        if answer.status != status or text not in answer.body.decode():
            wrong[method] = (answer.status, answer.body)

    assert wrong == {}
    assert {seen.target.lower() for seen in app.seen} == {"/public", "/public/extra"}


@pytest.mark.parametrize("way", WAYS)
def test_verbs_over_http(mesh: Mesh, way: str) -> None:
    caller, callee = pair(mesh, way, mesh.world.app())
    url = f"/v1.0/invoke/{callee.app_id}/method/posted"

    statuses = [caller.call(verb, url + rest).status for verb, rest in (("POST", ""), ("POST", "/x"), ("PUT", "/x"))]

    assert statuses == [200, 200, 403]
    assert caller.call("POST", url + "/x/y").status == 403


@pytest.mark.parametrize("way", WAYS)
def test_methods_over_grpc(mesh: Mesh, channel: Channel, way: str) -> None:
    app = mesh.world.app(path)
    caller, callee = pair(mesh, way, app)
    invoke = channel(caller).unary_unary(DAPR + "InvokeService")

    for method, reached in OVER_GRPC.items():
        app.seen.clear()
        if reached is not None or method == "/PUBLIC":  # case does not matter for an app that speaks HTTP
            invoke(invocation(callee.app_id, method, verb=b"GET"), timeout=20)
            assert [seen.target for seen in app.seen] == ["/" + (reached or method).removeprefix("/")]
        else:
            assert refused(invoke, invocation(callee.app_id, method, verb=b"GET")) == "INTERNAL"
            assert not app.seen, method


@pytest.mark.parametrize("way", WAYS)
def test_an_app_that_speaks_grpc(mesh: Mesh, channel: Channel, grpc_app: GrpcApp, way: str) -> None:
    caller, callee = pair(mesh, way, grpc_app.port, "--app-protocol", "grpc")
    invoke = channel(caller).unary_unary(DAPR + "InvokeService")

    for method, reached in OVER_GRPC.items():
        grpc_app.request = b""
        if reached is None:
            assert refused(invoke, invocation(callee.app_id, method)) == "INTERNAL", method
            assert not grpc_app.request, method
        else:
            invoke(invocation(callee.app_id, method), timeout=20)
            assert reached.encode() in grpc_app.request
    assert caller.call("PUT", f"/v1.0/invoke/{callee.app_id}/method/posted/x").status == 200  # verbs do not count


@pytest.mark.parametrize("way", WAYS)
def test_calls_that_pass_through(mesh: Mesh, channel: Channel, grpc_app: GrpcApp, way: str) -> None:
    caller, callee = pair(mesh, way, grpc_app.port, "--app-protocol", "grpc")
    metadata = (("dapr-app-id", callee.app_id),)
    calls = channel(caller)

    assert calls.unary_unary("/my.Service/Echo")(b"x", metadata=metadata, timeout=20) == b"x"
    ended = failure(lambda: calls.unary_unary("/my.Service/echo")(b"x", metadata=metadata, timeout=20))
    assert ended == ("PERMISSION_DENIED", DENIED.format(caller.app_id, "/my.Service/echo", "NONE"))


def test_another_caller_has_no_part_in_it(mesh: Mesh) -> None:
    app = mesh.world.app()
    _, callee = pair(mesh, "ours-ours", app)
    other = mesh.sidecar("other")

    answer = other.call("GET", f"/v1.0/invoke/{callee.app_id}/method/public", f"dapr-caller-app-id: {callee.app_id}")

    assert answer.status == 403
    assert DENIED.format(other.app_id, "public", "GET").encode() in answer.body
    assert not app.seen


def test_decisions_are_counted_by_caller(mesh: Mesh) -> None:
    caller, callee = pair(mesh, "ours-ours", mesh.world.app())
    for method in ("public", "public", "admin"):
        caller.call("GET", f"/v1.0/invoke/{callee.app_id}/method/{method}")

    page = callee.call("GET", "/metrics", port=callee.metrics).body.decode()
    labels = f'{{app_id="{caller.app_id}",namespace="default",trustDomain="public"}}'
    assert f"dapr_runtime_acl_app_policy_action_allowed_total{labels} 2\n" in page
    assert f"dapr_runtime_acl_app_policy_action_blocked_total{labels} 1\n" in page
