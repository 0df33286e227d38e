"""Secrets for the app: stores, scopes, policies."""

from collections.abc import Callable, Mapping
from typing import cast

import pytest

from pydapr.blocks.secrets import Secrets
from pydapr.components.secretstores import SecretStore, SecretStoreError
from pydapr.errors import Code, DaprError
from pydapr.policy import reading
from pydapr.resources import resiliency
from pydapr.resources.configuration import SecretsScope
from pydapr.resources.fields import Fields


class Held(SecretStore):
    """Holds the secrets a, b and c; the first `failures` calls fail."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.calls = failures, 0

    async def get(self, name: str, metadata: Mapping[str, str]) -> Mapping[str, str]:
        self.count()
        return {name: f"value of {name}", **metadata}

    async def get_bulk(self, metadata: Mapping[str, str]) -> Mapping[str, Mapping[str, str]]:
        self.count()
        return {name: {name: "value", **metadata} for name in "abc"}

    def count(self) -> None:
        self.calls += 1
        if self.calls <= self.failures:
            raise SecretStoreError(f"failure {self.calls}")


def scoped(**fields: object) -> Callable[[str], bool]:
    return SecretsScope("s", **fields).is_allowed  # type: ignore[arg-type]


async def failure(secrets: Secrets, store: str, name: str = "a") -> tuple[int, int, str, str]:
    with pytest.raises(DaprError) as error:
        await (secrets.get(store, name, {}) if name else secrets.get_bulk(store, {}))
    found = error.value
    return found.status, found.grpc, found.code, found.message


async def test_secrets_are_read_with_the_metadata_of_the_request() -> None:
    secrets = Secrets({"s": Held()}, {})

    assert await secrets.get("s", "a", {"version_id": "2"}) == {"a": "value of a", "version_id": "2"}
    assert (await secrets.get_bulk("s", {"x": "y"}))["b"] == {"b": "value", "x": "y"}


@pytest.mark.parametrize("name", ["a", ""])
async def test_store_that_is_not_there_is_told(name: str) -> None:
    assert await failure(Secrets({}, {}), "s", name) == (
        500,
        Code.FAILED_PRECONDITION,
        "ERR_SECRET_STORES_NOT_CONFIGURED",
        "secret store is not configured",
    )
    assert await failure(Secrets({"other": Held()}, {}), "s", name) == (
        401,
        Code.INVALID_ARGUMENT,
        "ERR_SECRET_STORE_NOT_FOUND",
        "failed finding secret store with key s",
    )


@pytest.mark.parametrize(
    ("scope", "readable"),
    [
        (scoped(), "abc"),
        (scoped(default_access="Deny"), ""),
        (scoped(default_access="deny", allowed_secrets=frozenset("a")), "a"),
        (scoped(allowed_secrets=frozenset("a"), denied_secrets=frozenset("a")), "a"),
        (scoped(denied_secrets=frozenset("b")), "ac"),
    ],
)
async def test_scope_decides_which_secrets_the_app_may_read(scope: Callable[[str], bool], readable: str) -> None:
    secrets = Secrets({"s": Held()}, {"s": scope})

    assert "".join(await secrets.get_bulk("s", {})) == readable
    for name in "abc":
        if name in readable:
            assert await secrets.get("s", name, {})
        else:
            denied = f'access denied by policy to get "{name}" from "s"'
            expected = (403, Code.PERMISSION_DENIED, "ERR_PERMISSION_DENIED", denied)
            assert await failure(secrets, "s", name) == expected


async def test_failure_of_the_store_is_told() -> None:
    secrets = Secrets({"s": Held(failures=2)}, {})

    one = "failed getting secret with key a from secret store s: failure 1"
    assert await failure(secrets, "s") == (500, Code.INTERNAL, "ERR_SECRET_GET", one)
    everything = "failed getting secrets from secret store s: failure 2"
    assert await failure(secrets, "s", "") == (500, Code.INTERNAL, "ERR_SECRET_GET", everything)


async def test_store_is_asked_under_its_policies() -> None:
    spec: dict[str, object] = {
        "policies": {"retries": {"again": {"policy": "constant", "duration": "1ms", "maxRetries": 2}}},
        "targets": {"components": {"s": {"outbound": {"retry": "again"}}}},
    }
    document = Fields({"metadata": {"name": "r"}, "spec": spec}, "Resiliency")
    policies = reading.load((resiliency.read(document),))
    stores = {"s": cast(SecretStore, Held(failures=2)), "other": cast(SecretStore, Held(failures=2))}
    secrets = Secrets(stores, {}, policies)

    assert await secrets.get("s", "a", {}) == {"a": "value of a"}
    assert "failure 1" in (await failure(secrets, "other"))[3]


def test_scope_of_a_store_that_is_not_there_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    Secrets({"s": Held()}, {"gone": scoped(), "s": scoped()})

    told = capfd.readouterr().out
    assert "Secrets configuration added for 'gone', but no matching secret store was found" in told
    assert "added for 's'" not in told
