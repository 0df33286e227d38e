"""Access rules where sidecars have no certificates: the global default is for everybody.

The same tests pass against the original (`PYDAPR_TEST_DAPRD`), but for the log lines of another level.
"""

from collections.abc import Callable
from typing import Any

import pytest
from tests.integration.grpc_app import DAPR, GrpcApp, failure, invocation
from tests.integration.harness import Sidecar, World

Channel = Callable[[Sidecar], Any]

DENIED = "access control policy has denied access to id:  operation: {} verb: {}"

POLICY = """
    policies:
    - appId: caller
      namespace: default
      trustDomain: public
      defaultAction: allow
"""


def rules(world: World, default: str = "deny", more: str = "") -> tuple[str, str]:
    text = (
        f"apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {{name: c}}\nspec:\n  accessControl:\n    {more}"
    )
    if default:
        text += f"\n    defaultAction: {default}"
    return "--config", str(world.write("config.yaml", text + "\n"))


def pair(world: World, app: Any, *flags: str) -> tuple[Sidecar, Sidecar]:
    """A caller and a callee with `flags`."""
    callee, caller = world.daprd("callee", app, *flags), world.daprd("caller")
    return caller.await_ready(), callee.await_ready()


@pytest.mark.parametrize("method", ["m", "a/../m", "%2e%2e/m", "x//..//m"])
def test_calls_of_others_are_denied(world: World, method: str) -> None:
    app = world.app()
    caller, callee = pair(world, app, *rules(world))

    answer = caller.call("PUT", f"/v1.0/invoke/{callee.app_id}/method/{method}")

    said = DENIED.format("m", "PUT")
    assert (answer.status, answer.get("content-type")) == (403, "application/json")
    assert answer.body.decode() == (
        f'{{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: {callee.app_id}, '
        f'err: rpc error: code = PermissionDenied desc = {said}"}}'
    )
    assert not app.seen


def test_the_own_app_may_be_called_by_its_sidecar(world: World) -> None:
    sidecar = world.sidecar("callee", world.app(), *rules(world))

    assert sidecar.call("GET", f"/v1.0/invoke/{sidecar.app_id}/method/m").status == 200


def test_calls_of_grpc_are_denied(world: World, channel: Channel, grpc_app: GrpcApp) -> None:
    caller, callee = pair(world, grpc_app.port, *rules(world), "--app-protocol", "grpc")

    invoke = channel(caller).unary_unary(DAPR + "InvokeService")
    code, message = failure(lambda: invoke(invocation(callee.app_id, "m"), timeout=20))

    assert (code, message) == (
        "INTERNAL",
        f"failed to invoke, id: {callee.app_id}, err: rpc error: code = PermissionDenied desc = "
        + DENIED.format("m", "NONE"),
    )
    assert not grpc_app.seen


@pytest.mark.parametrize("by", ["caller", "callee"])
def test_calls_that_pass_through_are_denied_from_whomever(
    world: World, channel: Channel, grpc_app: GrpcApp, by: str
) -> None:
    caller, callee = pair(world, grpc_app.port, *rules(world), "--app-protocol", "grpc")

    call = channel(caller if by == "caller" else callee).unary_unary("/my.Service/Echo")
    ended = failure(lambda: call(b"x", metadata=(("dapr-app-id", callee.app_id),), timeout=20))

    assert ended == ("PERMISSION_DENIED", DENIED.format("/my.Service/Echo", "NONE"))
    assert not grpc_app.seen


def test_a_policy_is_for_those_who_show_who_they_are(world: World) -> None:
    app = world.app()
    policy = POLICY.strip().replace("caller", world.app_id("caller"))
    caller, callee = pair(world, app, *rules(world, more=policy))

    assert caller.call("GET", f"/v1.0/invoke/{callee.app_id}/method/m", "dapr-caller-app-id: x").status == 403
    assert not app.seen


def test_an_allowing_default_lets_everybody_in(world: World) -> None:
    policy = POLICY.strip().replace("allow", "deny")
    caller, callee = pair(world, world.app(), *rules(world, "Allow", policy))

    assert caller.call("GET", f"/v1.0/invoke/{callee.app_id}/method/m").status == 200


def test_decisions_are_counted(world: World) -> None:
    caller, callee = pair(world, world.app(), *rules(world))

    for _ in range(2):
        caller.call("GET", f"/v1.0/invoke/{callee.app_id}/method/m")

    page = callee.call("GET", "/metrics", port=callee.metrics).body.decode()
    name = "dapr_runtime_acl_global_policy_action_blocked_total"
    assert f'{name}{{app_id="",namespace="",trustDomain=""}} 2\n' in page


def test_a_refusal_stands_in_the_log_for_who_looks_closely(world: World) -> None:
    caller, callee = pair(world, world.app(), *rules(world), "--log-level", "debug")

    caller.call("GET", f"/v1.0/invoke/{callee.app_id}/method/m")

    assert DENIED.format("m", "GET") in callee.log


def test_rules_that_lack_something_end_the_start(world: World) -> None:
    sidecar = world.daprd("callee", None, *rules(world, more="policies: [{appId: a, namespace: n}, {trustDomain: t}]"))

    assert sidecar.exit_code() == 1
    assert sidecar.messages()[-1] == (
        "Fatal error from runtime: invalid access control spec. missing trustdomain for apps: [a], "
        "missing namespace for apps: [], missing app name on at least one of the app policies: true"
    )


def test_an_empty_default_with_policies_denies_and_is_told(world: World) -> None:
    caller, callee = pair(world, world.app(), *rules(world, '""', POLICY.strip()))

    assert caller.call("GET", f"/v1.0/invoke/{callee.app_id}/method/m").status == 403
    assert "No global default action has been specified. Setting default global action as Deny" in callee.messages()


def test_rules_that_are_null_are_none(world: World) -> None:
    config = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\nspec: {accessControl: null}\n"
    caller, callee = pair(world, world.app(), "--config", str(world.write("config.yaml", config)))

    assert caller.call("GET", f"/v1.0/invoke/{callee.app_id}/method/m").status == 200
