"""What is said of types that are not there."""

import pytest

from pydapr import components
from pydapr.daprd import unbuilt

ROUTE = (
    "run it as a pluggable component (gRPC over a Unix socket in DAPR_COMPONENTS_SOCKETS_FOLDER, default "
    "/tmp/dapr-components-sockets)"
)


@pytest.mark.parametrize("type_", ["state.hazelcast", "pubsub.kubemq", "bindings.zeebe.command", "State.Aerospike"])
def test_a_type_that_is_not_built_can_be_had_as_a_pluggable_component(type_: str) -> None:
    assert unbuilt.reason(type_, "v1", ["state.redis"]) == f"it is not built into this runtime; {ROUTE}"


@pytest.mark.parametrize(
    "type_",
    ["state.aws.dynamodb", "pubsub.azure.servicebus.topics", "bindings.gcp.bucket", "secretstores.azure.keyvault"],
)
def test_a_cloud_is_called_one(type_: str) -> None:
    told = unbuilt.reason(type_, "v1", [])

    assert told == f"it belongs to a cloud service, and is not built into this runtime; {ROUTE}"


@pytest.mark.parametrize("type_", ["crypto.azure.keyvault", "configuration.azure.appconfig", "conversation.mistral"])
def test_a_kind_that_cannot_be_pluggable_has_no_such_way(type_: str) -> None:
    assert unbuilt.reason(type_, "v1", []) == "it belongs to a cloud service, and is not built into this runtime"


def test_a_type_that_dapr_does_not_have_either() -> None:
    built = ["state.redis", "state.sqlite"]

    assert unbuilt.reason("state.rediss", "v1", built) == (
        "this version of pydapr has state.redis, state.sqlite; did you mean state.redis?"
    )
    assert unbuilt.reason("state.nosuch", "", []) == "this version of pydapr has none yet"
    assert "another version" in unbuilt.reason("state.redis", "v7", built)


def test_what_is_built_is_not_called_unbuilt() -> None:
    kinds = ("bindings", "configuration", "conversation", "crypto", "lock", "pubsub", "secretstores", "state")
    built = {found.name for kind in kinds for found in components.available(kind)}

    assert not built & unbuilt.SERVICES
