"""Every secret store runs through these cases; a new one needs its entry in `STORES`."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.conformance.vault import TOKEN, Vault

from pydapr import components
from pydapr.components.secretstores import MULTIPLE_KEY_VALUES, SecretStore, SecretStoreError

SECRETS = {"conftestsecret": "abcd", "secondsecret": "efgh"}
"""What each store holds: in the one key that has the secret's name where there are several, too."""

Filled = tuple[dict[str, str], Callable[[], None]]
"""The metadata of a store that holds `SECRETS`, and how what it needs is taken away again."""


def environment(folder: Path, patch: pytest.MonkeyPatch) -> Filled:
    for name, value in SECRETS.items():
        patch.setenv(f"CONFORMANCE_{name}", value)
    return {"prefix": "CONFORMANCE_"}, lambda: None


def file(folder: Path, patch: pytest.MonkeyPatch) -> Filled:
    path = folder / "secrets.json"
    path.write_text(json.dumps(SECRETS))
    return {"secretsFile": str(path)}, lambda: None


def file_of_many(folder: Path, patch: pytest.MonkeyPatch) -> Filled:
    path = folder / "secrets.json"
    path.write_text(json.dumps({name: {name: value} for name, value in SECRETS.items()}))
    return {"secretsFile": str(path), "multiValued": "true"}, lambda: None


def vault(folder: Path, patch: pytest.MonkeyPatch) -> Filled:
    server = Vault()
    server.secrets = {f"dapr/{name}": [{name: value}] for name, value in SECRETS.items()}
    return {"vaultAddr": server.address, "vaultToken": TOKEN}, server.close


STORES = {
    "secretstores.local.env": [environment],
    "secretstores.local.file": [file, file_of_many],
    "secretstores.hashicorp.vault": [vault],
}
CASES = [pytest.param(type_, fill, id=f"{type_}-{fill.__name__}") for type_, fills in STORES.items() for fill in fills]
pytestmark = pytest.mark.parametrize(("type_", "fill"), CASES)


@pytest.fixture
async def store(
    type_: str, fill: Callable[[Path, pytest.MonkeyPatch], Filled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SecretStore]:
    found = components.find(type_)
    assert found is not None
    metadata, end = fill(tmp_path, monkeypatch)
    made = found.make(components.read(found.options, metadata))
    assert isinstance(made, SecretStore)
    await made.open()
    yield made
    await made.close()
    end()


async def test_secret_is_read_by_its_name(store: SecretStore) -> None:
    for name, value in SECRETS.items():
        assert await store.get(name, {}) == {name: value}


async def test_all_secrets_are_read_at_once(store: SecretStore) -> None:
    assert await store.get_bulk({}) == {name: {name: value} for name, value in SECRETS.items()}


async def test_secret_that_is_not_there_is_an_error_or_empty(store: SecretStore, type_: str) -> None:
    if type_ == "secretstores.local.env":
        assert await store.get("nothing", {}) == {"nothing": ""}
    else:
        with pytest.raises(SecretStoreError, match="nothing"):
            await store.get("nothing", {})


async def test_store_says_whether_secrets_may_have_several_keys(
    store: SecretStore, type_: str, fill: Callable[..., Filled]
) -> None:
    assert store.capabilities == ((MULTIPLE_KEY_VALUES,) if fill in (file_of_many, vault) else ())


async def test_store_opens_again_after_it_was_closed(store: SecretStore) -> None:
    await store.close()
    await store.open()

    assert await store.get("conftestsecret", {}) == {"conftestsecret": "abcd"}


def test_every_store_is_judged(type_: str, fill: object) -> None:
    assert [found.name for found in components.available("secretstores")] == sorted(STORES)
