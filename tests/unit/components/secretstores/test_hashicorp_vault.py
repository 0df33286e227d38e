"""HashiCorp Vault, which is played: what is asked, whom we trust, and what errors say."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.vault import TOKEN, Vault
from tests.integration.endpoints.test_tls import make_pki

from pydapr import components
from pydapr.components import Wrong
from pydapr.components.secretstores import SecretStoreError
from pydapr.components.secretstores import hashicorp_vault as vault

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")


@pytest.fixture
def server() -> Iterator[Vault]:
    made = Vault()
    yield made
    made.close()


class Stores:
    """Makes stores and closes them."""

    def __init__(self) -> None:
        self.made: list[vault.Vault] = []

    async def open(self, server: Vault, **metadata: Any) -> vault.Vault:
        given = {"vaultAddr": server.address, "vaultToken": TOKEN, **metadata}
        store = vault.Vault(components.read(vault.Options, {key: value for key, value in given.items() if value}))
        self.made.append(store)
        await store.open()
        return store


@pytest.fixture
async def stores() -> AsyncIterator[Stores]:
    made = Stores()
    yield made
    for store in made.made:
        await store.close()


async def test_secret_has_keys_and_lies_below_the_prefix(server: Vault, stores: Stores) -> None:
    server.secrets = {"dapr/db/main": [{"user": "u", "password": "p"}], "team/x": [{"a": "b"}], "y": [{"c": "d"}]}

    assert await (await stores.open(server)).get("db/main", {}) == {"user": "u", "password": "p"}
    assert await (await stores.open(server, vaultKVPrefix="team")).get("x", {}) == {"a": "b"}
    assert await (await stores.open(server, vaultKVUsePrefix="false")).get("y", {}) == {"c": "d"}


async def test_engine_may_be_mounted_elsewhere(stores: Stores) -> None:
    server = Vault("kv/team")
    server.secrets = {"dapr/a": [{"k": "v"}]}

    assert await (await stores.open(server, enginePath="kv/team")).get("a", {}) == {"k": "v"}
    server.close()


async def test_version_can_be_asked_for(server: Vault, stores: Stores) -> None:
    server.secrets = {"dapr/a": [{"k": "1"}, {"k": "2"}, None], "dapr/b": [{"k": "3"}]}
    store = await stores.open(server)

    assert await store.get("a", {"version_id": "1"}) == {"k": "1"}
    with pytest.raises(SecretStoreError, match=r"^getSecret a failed secret key or version not exist$"):
        await store.get("a", {})
    assert await store.get_bulk({"version_id": "2"}) == {"a": {"k": "2"}}


async def test_bulk_goes_through_all_folders_over_few_connections(server: Vault, stores: Stores) -> None:
    server.secrets = {f"dapr/f{number % 5}/deep/s{number}": [{"k": str(number)}] for number in range(60)}

    found = await (await stores.open(server)).get_bulk({})

    assert found == {f"f{number % 5}/deep/s{number}": {"k": str(number)} for number in range(60)}
    assert server.connections <= vault.AT_A_TIME + 1


async def test_secret_as_text_is_one_json(server: Vault, stores: Stores) -> None:
    server.secrets = {"dapr/a": [{"n": 1, "t": {"x": "y"}}]}
    store = await stores.open(server, vaultValueType="text")

    assert await store.get("a", {}) == {"a": '{"n":1,"t":{"x":"y"}}'}
    assert store.capabilities == ()


async def test_value_that_is_no_text_is_named_but_not_shown(server: Vault, stores: Stores) -> None:
    server.secrets = {"dapr/a": [{"pin": 987654}]}

    with pytest.raises(SecretStoreError, match="value of key pin of secret a is no text") as error:
        await (await stores.open(server)).get("a", {})

    assert "987654" not in str(error.value)


async def test_one_secret_that_cannot_be_read_fails_a_bulk_request_as_any_other(server: Vault, stores: Stores) -> None:
    server.secrets = {"dapr/a": [{"pin": 987654}], "dapr/b": [{"k": "v"}]}

    with pytest.raises(SecretStoreError, match="value of key pin of secret a is no text"):
        await (await stores.open(server)).get_bulk({})


async def test_name_cannot_lead_out_of_the_prefix(server: Vault, stores: Stores) -> None:
    server.secrets = {"other": [{"k": "v"}], "dapr/a?b#c": [{"k": "w"}]}
    store = await stores.open(server)

    with pytest.raises(SecretStoreError, match="no name of a secret"):
        await store.get("../other", {})
    assert await store.get("a?b#c", {}) == {"k": "w"}
    assert not any("other" in path for _, path in server.asked)


async def test_token_comes_from_a_file(server: Vault, stores: Stores, tmp_path: Path) -> None:
    server.secrets = {"dapr/a": [{"k": "v"}]}
    (tmp_path / "token").write_text(f"{TOKEN}\n")

    store = await stores.open(server, vaultToken="", vaultTokenMountPath=str(tmp_path / "token"))

    assert await store.get("a", {}) == {"k": "v"}


async def test_refusal_is_told_in_vaults_words_and_without_the_token(server: Vault, stores: Stores) -> None:
    store = await stores.open(server, vaultToken="s.another-token")

    for asking in (store.get("a", {}), store.get_bulk({})):
        with pytest.raises(SecretStoreError, match=r"403.*permission denied") as error:
            await asking
        assert "another-token" not in str(error.value)


async def test_server_that_is_not_there_is_named(server: Vault, stores: Stores) -> None:
    store = await stores.open(server)
    server.close()

    with pytest.raises(SecretStoreError, match=r"couldn't get secret: .*/v1/secret/data/dapr/a"):
        await store.get("a", {})


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"vaultToken": ""}, "one of vaultToken and vaultTokenMountPath is needed, and neither"),
        ({"vaultTokenMountPath": "/x"}, "and both of them is set"),
        ({"vaultValueType": "list"}, "accepted values are map and text"),
        ({"vaultToken": "hush\r\nx: y"}, "holds what no token may"),
        ({"caPem": "hush"}, "couldn't read PEM"),
        ({"caCert": "/no/such/file"}, "couldn't read CA file from disk /no/such/file: No such file"),
        ({"caPath": "/no/such/folder"}, "couldn't read certificates at /no/such/folder"),
        ({"vaultAddr": "vault:8200"}, "is no http"),
    ],
)
async def test_metadata_that_cannot_be_used_is_an_error(
    server: Vault, stores: Stores, metadata: dict[str, str], reason: str
) -> None:
    with pytest.raises((Wrong, ValueError, OSError), match=reason) as error:
        await stores.open(server, **metadata)

    assert "hush" not in str(error.value)


@needs_openssl
async def test_server_is_trusted_only_as_the_metadata_say(stores: Stores, tmp_path: Path) -> None:
    pki = make_pki(tmp_path / "pki")
    (tmp_path / "trusted").mkdir()
    shutil.copy(pki / "root.pem", tmp_path / "trusted")
    server = Vault(tls=pki)
    server.secrets = {"dapr/a": [{"k": "v"}]}
    named = {"tlsServerName": "localhost"}  # what the certificate says; the URL has an address
    trusting: list[dict[str, str]] = [
        {"caPem": (pki / "root.pem").read_text(), **named},
        {"caCert": str(pki / "root.pem"), **named},
        {"caPath": str(tmp_path / "trusted"), **named},
        {"skipVerify": "true"},
    ]
    for metadata in trusting:
        assert await (await stores.open(server, **metadata)).get("a", {}) == {"k": "v"}
    for metadata in ({}, named, {"caCert": str(pki / "root.pem")}, {"skipVerify": "yes"}):
        with pytest.raises(SecretStoreError, match="certificate"):
            await (await stores.open(server, **metadata)).get("a", {})
    server.close()
