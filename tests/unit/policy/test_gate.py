"""What the gate before the app says, counts and remembers."""

import pytest

from pydapr.errors import Code, RpcError
from pydapr.observe import metrics
from pydapr.observe.metrics_service import AccessMetrics
from pydapr.policy import access, gate
from pydapr.resources.accesscontrol import AccessControl, AppPolicy, Operation

SHOP = "spiffe://public/ns/default/shop"


class Counted:
    """A gate and the page of its metrics."""

    def __init__(self, *operations: Operation, default: str = "deny") -> None:
        policy = AppPolicy("shop", "deny", "public", "default", operations)
        rules = access.compile(AccessControl(default, "public", (policy,)), True)
        assert rules is not None
        self._registry = metrics.Registry({"app_id": "own"})
        self.gate = gate.Gate(rules, AccessMetrics(self._registry))

    @property
    def lines(self) -> list[str]:
        found = [line for line in self._registry.text().splitlines() if not line.startswith("#")]
        return [line.removeprefix("dapr_runtime_acl_") for line in found]

    def refusal(self, caller: str, operation: str, verb: str | None) -> str:
        with pytest.raises(RpcError) as refused:
            self.gate.check(caller, operation, verb)
        assert refused.value.code == Code.PERMISSION_DENIED
        return refused.value.message


ALLOW_X = Operation("/x", ("GET",), "allow")


def test_what_may_pass_passes_and_is_counted_each_time() -> None:
    one = Counted(ALLOW_X)

    for _ in range(3):
        one.gate.check(SHOP, "x", "GET")

    assert one.lines == [
        'app_policy_action_allowed_total{app_id="shop",namespace="default",trustDomain="public"} 3',
    ]


@pytest.mark.parametrize(
    ("caller", "operation", "verb", "text"),
    [
        (SHOP, "x", "PUT", f"id: {SHOP} operation: x verb: PUT"),
        (SHOP + "/more", "y", "GET", f"id: {SHOP}/more operation: y verb: GET"),
        (SHOP, "x", "", f"id: {SHOP} operation: x verb: NONE"),
        (SHOP, "/pkg.S/M", None, f"id: {SHOP} operation: /pkg.S/M verb: NONE"),
        ("", "x", "GET", "id:  operation: x verb: GET"),
    ],
)
def test_a_refusal_says_who_wanted_what(caller: str, operation: str, verb: str | None, text: str) -> None:
    one = Counted(ALLOW_X)

    assert one.refusal(caller, operation, verb) == f"access control policy has denied access to {text}"


def test_refusals_are_counted_by_what_decided() -> None:
    one = Counted(ALLOW_X)

    for _ in range(2):
        one.refusal(SHOP, "y", "GET")
        one.refusal("", "x", "GET")

    assert one.lines == [
        'app_policy_action_blocked_total{app_id="shop",namespace="default",trustDomain="public"} 2',
        'global_policy_action_blocked_total{app_id="",namespace="",trustDomain=""} 2',
    ]


@pytest.mark.parametrize("caller", ["spiffe://public/ns/default", "spiffe://public/x/y/z", "no URI", "a b"])
def test_a_certificate_that_is_not_of_dapr_is_refused_whatever_the_default(caller: str) -> None:
    one = Counted(default="allow")

    assert one.refusal(caller, "x", "GET")
    assert one.lines == []


def test_what_one_may_another_may_not() -> None:
    one = Counted(ALLOW_X)
    one.gate.check(SHOP, "x", "GET")

    assert one.refusal("spiffe://public/ns/default/other", "x", "GET")
    assert one.refusal(SHOP, "x", "POST")
    assert one.refusal("", "x", "GET")


def test_the_memory_of_what_passed_is_bounded() -> None:
    one = Counted(Operation("/x/**", ("GET",), "allow"))

    for number in range(gate.KNOWN + 10):
        one.gate.check(SHOP, f"x/{number}", "GET")
    one.gate.check(SHOP, "x/" + "y" * gate.LONGEST, "GET")

    assert len(one.gate._passed) == 10
    assert one.lines[0].endswith(f" {gate.KNOWN + 11}")


def test_a_gate_without_metrics_decides_alike() -> None:
    rules = access.compile(AccessControl("deny", "public"), True)
    assert rules is not None
    with pytest.raises(RpcError, match="has denied access"):
        gate.Gate(rules).check("", "x", "GET")
