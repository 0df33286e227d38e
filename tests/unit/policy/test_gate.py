"""What the gate before the app says, counts and remembers."""

import pytest

from pydapr.errors import Code, RpcError
from pydapr.observe import metrics
from pydapr.observe.metrics_service import AccessMetrics
from pydapr.policy import access, gate
from pydapr.resources.accesscontrol import AccessControl, AppPolicy, Operation

SHOP = "spiffe://public/ns/default/shop"


def canonical(method: str) -> str:
    if "?" in method:
        raise ValueError("it asks")
    return method.removesuffix("!")


class Counted:
    """A gate and the page of its metrics."""

    def __init__(self, *operations: Operation, default: str = "deny") -> None:
        policy = AppPolicy("shop", "deny", "public", "default", operations)
        rules = access.compile(AccessControl(default, "public", (policy,)), True)
        assert rules is not None
        self._registry = metrics.Registry({"app_id": "own"})
        self.gate = gate.Gate(rules, canonical, AccessMetrics(self._registry))

    @property
    def lines(self) -> list[str]:
        found = [line for line in self._registry.text().splitlines() if not line.startswith("#")]
        return [line.removeprefix("dapr_runtime_acl_") for line in found]

    def refusal(self, caller: str, method: bytes, verb: bytes | None) -> str:
        with pytest.raises(RpcError) as refused:
            self.gate.check(caller, method, verb)
        assert refused.value.code == Code.PERMISSION_DENIED
        return refused.value.message


ALLOW_X = Operation("/x", ("GET",), "allow")


def test_what_may_pass_passes_and_is_counted_each_time() -> None:
    one = Counted(ALLOW_X)

    for _ in range(3):
        one.gate.check(SHOP, b"x", b"GET")

    assert one.lines == [
        'app_policy_action_allowed_total{app_id="shop",namespace="default",trustDomain="public"} 3',
    ]


@pytest.mark.parametrize(
    ("caller", "method", "verb", "text"),
    [
        (SHOP, b"x", b"PUT", f"id: {SHOP} operation: x verb: PUT"),
        (SHOP + "/more", b"y", b"GET", f"id: {SHOP}/more operation: y verb: GET"),
        (SHOP, b"x", b"", f"id: {SHOP} operation: x verb: NONE"),
        (SHOP, b"/pkg.S/M", None, f"id: {SHOP} operation: /pkg.S/M verb: NONE"),
        ("", b"x", b"GET", "id:  operation: x verb: GET"),
    ],
)
def test_a_refusal_says_who_wanted_what(caller: str, method: bytes, verb: bytes | None, text: str) -> None:
    one = Counted(ALLOW_X)

    assert one.refusal(caller, method, verb) == f"access control policy has denied access to {text}"


def test_refusals_are_counted_by_what_decided() -> None:
    one = Counted(ALLOW_X)

    for _ in range(2):
        one.refusal(SHOP, b"y", b"GET")
        one.refusal("", b"x", b"GET")

    assert one.lines == [
        'app_policy_action_blocked_total{app_id="shop",namespace="default",trustDomain="public"} 2',
        'global_policy_action_blocked_total{app_id="",namespace="",trustDomain=""} 2',
    ]


@pytest.mark.parametrize("caller", ["spiffe://public/ns/default", "spiffe://public/x/y/z", "no URI", "a b"])
def test_a_certificate_that_is_not_of_dapr_is_refused_whatever_the_default(caller: str) -> None:
    one = Counted(default="allow")

    assert one.refusal(caller, b"x", b"GET")
    assert one.lines == []


def test_what_one_may_another_may_not() -> None:
    one = Counted(ALLOW_X)
    one.gate.check(SHOP, b"x", b"GET")

    assert one.refusal("spiffe://public/ns/default/other", b"x", b"GET")
    assert one.refusal(SHOP, b"x", b"POST")
    assert one.refusal("", b"x", b"GET")


def test_the_memory_of_what_passed_is_bounded() -> None:
    one = Counted(Operation("/x/**", ("GET",), "allow"))

    for number in range(gate.KNOWN + 10):
        one.gate.check(SHOP, b"x/%d" % number, b"GET")
    one.gate.check(SHOP, b"x/" + b"y" * gate.LONGEST, b"GET")

    assert len(one.gate._passed) == 10
    assert one.lines[0].endswith(f" {gate.KNOWN + 11}")


def test_a_gate_without_metrics_decides_alike() -> None:
    rules = access.compile(AccessControl("deny", "public"), True)
    assert rules is not None
    with pytest.raises(RpcError, match="has denied access"):
        gate.Gate(rules, canonical).check("", b"x", b"GET")


def test_what_is_decided_on_is_the_canonical_form() -> None:
    one = Counted(ALLOW_X)
    one.gate.check(SHOP, b"x!", b"GET")

    assert one.refusal(SHOP, b"y!", b"GET").endswith("operation: y verb: GET")
    with pytest.raises(RpcError) as refused:
        one.gate.check(SHOP, b"x?", b"GET")
    assert (refused.value.code, refused.value.message) == (Code.INVALID_ARGUMENT, "invalid method: it asks")
