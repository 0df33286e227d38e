"""Secrets from the environment of the sidecar."""

import pytest

from pydapr.components.secretstores.local_env import LocalEnv, Options


@pytest.mark.parametrize("name", ["APP_API_TOKEN", "app_api_token", "DAPR_API_TOKEN", "Dapr_anything"])
async def test_what_the_sidecar_keeps_secret_is_not_given_away(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "s3cret")
    store = LocalEnv(Options())

    assert await store.get(name, {}) == {name: ""}
    assert name not in await store.get_bulk({})


async def test_prefix_cannot_be_used_to_reach_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAPR_API_TOKEN", "s3cret")
    store = LocalEnv(Options(prefix="DAPR_"))

    assert await store.get("API_TOKEN", {}) == {"API_TOKEN": ""}
    assert await store.get_bulk({}) == {}


async def test_variable_with_nothing_behind_the_prefix_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRE_", "x")
    monkeypatch.setenv("PRE_A", "")

    assert await LocalEnv(Options(prefix="PRE_")).get_bulk({}) == {"A": {"A": ""}}


async def test_name_that_no_variable_can_have_is_empty() -> None:
    assert await LocalEnv(Options()).get("a\0b", {}) == {"a\0b": ""}
