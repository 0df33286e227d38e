"""Who may report what; the texts were compared with the original v1.18.3."""

import pytest

from pydapr.errors import Code, RpcError
from pydapr.placement import authorization
from pydapr.proto.dapr.proto.placement.v1.placement_pb2 import LOCK, Host
from pydapr.security import spiffe

ME = spiffe.Id("public", "default", "app-1")


@pytest.mark.parametrize(
    "types",
    [
        [],
        ["Cat", "a.b.c.d", "dapr", "dapr.other", "internal.dapr"],
        ["dapr.internal.default.app-1", "dapr.internal.default.app-1.workflow"],
    ],
)
def test_allowed(types: list[str]) -> None:
    authorization.check(Host(id="app-1", namespace="default", entities=types), ME)
    authorization.check(Host(id="app-1", namespace="default", entities=types), None)
    authorization.check(Host(id="app-1", namespace="default", operation=LOCK, version=3), ME)


@pytest.mark.parametrize(
    "name",
    ["dapr.internal", "dapr.internal.", "dapr.internal.default", "dapr.internal.default.", "dapr.internal.foo.app-1",
     "dapr.internal.default.app-2", "dapr.internal.default.app-10.x"],
)  # fmt: skip
def test_types_that_are_kept_for_others(name: str) -> None:
    with pytest.raises(RpcError) as refused:
        authorization.check(Host(id="app-1", namespace="default", entities=["Cat", name]), None)
    assert refused.value.code == Code.PERMISSION_DENIED
    assert refused.value.message == f"entity {name} is not allowed for app ID app-1 in namespace default"


@pytest.mark.parametrize(
    ("host", "code", "text"),
    [
        (Host(namespace="default"), Code.INVALID_ARGUMENT, "host ID and namespace must be provided"),
        (Host(id="app-1"), Code.INVALID_ARGUMENT, "host ID and namespace must be provided"),
        (
            Host(id="app-1", namespace="default", version=1),
            Code.INVALID_ARGUMENT,
            "both operation and version must be set or both must be unset",
        ),
        (
            Host(id="app-2", namespace="default"),
            Code.PERMISSION_DENIED,
            "provided app ID app-2 doesn't match the one in the SPIFFE ID (app-1)",
        ),
        (
            Host(id="app-1", namespace="other"),
            Code.PERMISSION_DENIED,
            "provided client namespace other doesn't match the one in the SPIFFE ID (default)",
        ),
    ],
)
def test_refused(host: Host, code: Code, text: str) -> None:
    with pytest.raises(RpcError) as refused:
        authorization.check(host, ME)
    assert (refused.value.code, refused.value.message) == (code, text)


def test_a_certificate_without_a_name_is_nobody() -> None:
    assert authorization.client("spiffe://public/ns/default/app-1") == ME
    for identity in ("", "no URI", "spiffe://public/x"):
        with pytest.raises(RpcError) as refused:
            authorization.client(identity)
        assert refused.value.code == Code.UNAUTHENTICATED


def test_what_one_sidecar_may_add_to_the_table() -> None:
    """Its names stand there once for each of its types: a message of 4 MB made terabytes of it."""
    types = [f"type-{number}" for number in range(4000)]
    authorization.check(Host(id="app-1", namespace="default", name="10.0.0.1:50002", entities=types), ME)
    for host in (
        Host(id="app-1", namespace="default", name="x" * 1000, entities=types),
        Host(id="app-1", namespace="default", entities=types * 10),
        Host(id="app-1", namespace="default", entities=["x" * (1 << 20)]),
        Host(id="app-1", namespace="default", name="x" * (1 << 20)),
    ):
        with pytest.raises(RpcError) as refused:
            authorization.check(host, ME)
        assert refused.value.code == Code.RESOURCE_EXHAUSTED
