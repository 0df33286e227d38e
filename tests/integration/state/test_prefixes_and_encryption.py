"""What stands in the store: keys under the prefix of each strategy, values that only the keys' owner can read."""

import contextlib
import json
import os
import sqlite3
from pathlib import Path

import pytest
from tests.integration.harness import ORIGINAL, Sidecar, World
from tests.integration.state import stores

KEYS = {"old": "00112233445566778899aabbccddeeff", "new": "ab" * 32, "short": "ab", "empty": ""}


def rows(world: World, file: str = "state.db") -> dict[str, tuple[str, int]]:
    with contextlib.closing(sqlite3.connect(world.folder / file)) as db:
        return {key: (value, binary) for key, value, binary in db.execute("SELECT key, value, is_binary FROM state")}


def vault(world: World) -> str:
    path = world.write("secrets.json", json.dumps(KEYS))
    return stores.component("vault", "secretstores.local.file", secretsFile=str(path))


def ref(secret: str) -> dict[str, object]:
    return {"secretKeyRef": {"name": secret}}


def save(sidecar: Sidecar, store: str, key: str, value: object) -> None:
    body = json.dumps([{"key": key, "value": value}]).encode()
    assert sidecar.call("POST", f"/v1.0/state/{store}", body=body).status == 204


# -- prefixes --


@pytest.mark.parametrize(
    ("strategy", "namespace", "full"),
    [
        (None, "", "{app}||k"),
        ("appid", "ns", "{app}||k"),
        ("NAME", "", "lite||k"),
        ("namespace", "ns", "ns.{app}||k"),
        ("namespace", "", "{app}||k"),
        ("none", "", "k"),
        ("Mine", "", "mine||k"),
        ("x-{{appID}}".replace("{{", "{").replace("}}", "}"), "", "x-{app}||k"),
    ],
)
def test_key_stands_under_its_prefix(world: World, strategy: str | None, namespace: str, full: str) -> None:
    metadata = {} if strategy is None else {"keyPrefix": strategy}
    environment = {"NAMESPACE": namespace} if namespace else {}
    sidecar = stores.start(world, stores.sqlite(world, **metadata), environment=environment).await_ready()

    save(sidecar, "lite", "k", 1)

    assert list(rows(world)) == [full.format(app=sidecar.app_id)]
    assert sidecar.call("GET", "/v1.0/state/lite/k").body == b"1"
    assert sidecar.document("GET", "/v1.0-alpha1/state/lite")["items"] == [{"key": "k"}]


def test_prefix_with_bars_stops_the_start(world: World) -> None:
    sidecar = stores.start(world, stores.sqlite(world, keyPrefix="a||b"))

    assert sidecar.exit_code() != 0
    assert "input key/keyPrefix 'a||b' can't contain '||'" in sidecar.log


def test_listing_shows_neither_keys_of_other_apps_nor_what_lies_deeper(world: World) -> None:
    sidecar = stores.start(world, stores.sqlite(world), stores.sqlite(world, "all", keyPrefix="none")).await_ready()
    save(sidecar, "lite", "mine", 1)
    save(sidecar, "all", "common", 1)
    with contextlib.closing(sqlite3.connect(world.folder / "state.db")) as db, db:
        for key in ("other||key", f"{sidecar.app_id}||type||id||inner"):
            db.execute("INSERT INTO state (key, value, is_binary, etag) VALUES (?, '1', 0, 'e')", (key,))

    listed = [sidecar.document("GET", f"/v1.0-alpha1/state/{name}")["items"] for name in ("lite", "all")]

    assert listed == [[{"key": "mine"}], [{"key": "common"}]]


# -- encryption --


def test_value_is_unreadable_in_the_store(world: World) -> None:
    encrypted = stores.sqlite(world, auth="vault", primaryEncryptionKey=ref("new"))
    sidecar = stores.start(world, encrypted, vault(world)).await_ready()

    save(sidecar, "lite", "s", "a secret")
    save(sidecar, "lite", "d", {"deep": ["a secret"]})
    operation = {"operation": "upsert", "request": {"key": "t", "value": "a secret"}}
    body = json.dumps({"operations": [operation]}).encode()
    assert sidecar.call("POST", "/v1.0/state/lite/transaction", body=body).status == 204

    assert b"secret" not in (world.folder / "state.db").read_bytes()
    # As with the original, a string comes back without its quotation marks.
    assert sidecar.call("GET", "/v1.0/state/lite/s").body == b"a secret"
    assert sidecar.call("GET", "/v1.0/state/lite/t").body == b"a secret"
    assert json.loads(sidecar.call("GET", "/v1.0/state/lite/d").body) == {"deep": ["a secret"]}
    bulk = sidecar.call("POST", "/v1.0/state/lite/bulk", body=b'{"keys":["s","d","none"]}')
    assert [item.get("data") for item in json.loads(bulk.body)] == ["a secret", {"deep": ["a secret"]}, None]
    query = sidecar.call("POST", "/v1.0-alpha1/state/lite/query", body=b"{}")
    assert "cannot query encrypted store" in json.loads(query.body)["message"]


def test_key_is_changed_while_old_values_stay_readable(world: World) -> None:
    first = stores.sqlite(world, auth="vault", primaryEncryptionKey=ref("old"), keyPrefix="shared")
    sidecar = stores.start(world, first, vault(world), name="first").await_ready()
    save(sidecar, "lite", "before", "value")
    sidecar.stop()

    both = {"primaryEncryptionKey": ref("new"), "secondaryEncryptionKey": ref("old")}
    second = stores.sqlite(world, auth="vault", keyPrefix="shared", **both)
    sidecar = stores.start(world, second, vault(world), name="second").await_ready()
    save(sidecar, "lite", "after", "value")
    assert [sidecar.call("GET", f"/v1.0/state/lite/{key}").body for key in ("before", "after")] == [b"value"] * 2
    sidecar.stop()

    third = stores.sqlite(world, auth="vault", primaryEncryptionKey=ref("new"), keyPrefix="shared")
    sidecar = stores.start(world, third, vault(world), name="third").await_ready()
    reply = sidecar.call("GET", "/v1.0/state/lite/before")
    assert (reply.status, json.loads(reply.body)["errorCode"]) == (500, "ERR_STATE_GET")
    assert "encrypted with the key of secret old" in json.loads(reply.body)["message"]


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"primaryEncryptionKey": "00" * 16}, "must come from a secret"),
        ({"primaryencryptionkey": ref("new")}, "must be written primaryEncryptionKey"),
        ({"primaryEncryptionKey": ref("missing")}, "has no value for primaryEncryptionKey"),
        ({"primaryEncryptionKey": ref("empty")}, "has no value for primaryEncryptionKey"),
        ({"primaryEncryptionKey": ref("short")}, "is no AES key"),
        ({"secondaryEncryptionKey": ref("new")}, "without primaryEncryptionKey"),
    ],
)
def test_key_that_would_encrypt_nothing_stops_the_start(world: World, metadata: dict[str, object], reason: str) -> None:
    sidecar = stores.start(world, stores.sqlite(world, auth="vault", **metadata), vault(world))

    assert sidecar.exit_code() != 0
    assert reason in sidecar.log
    assert "abab" not in sidecar.log


# -- with the original --


@pytest.mark.skipif(not ORIGINAL, reason="PYDAPR_ORIGINAL names no original")
def test_file_is_shared_with_the_original(world: World) -> None:
    resources = (
        stores.sqlite(world, keyPrefix="none"),
        stores.sqlite(world, "sealed", auth="vault", primaryEncryptionKey=ref("new"), keyPrefix="sealed"),
        vault(world),
    )
    ours = stores.start(world, *resources, name="ours").await_ready()
    original = [str(Path(ORIGINAL) / "daprd")]
    theirs = stores.start(world, *resources, name="theirs", program=original).await_ready()

    for one, other in ((ours, theirs), (theirs, ours)):
        for store in ("lite", "sealed"):
            name = f"from-{one.app_id}"
            body = [{"key": name, "value": "ü", "metadata": {"ttlInSeconds": "1000"}}]
            assert (
                one.call("POST", f"/v1.0/state/{store}", body=json.dumps(body, ensure_ascii=False).encode()).status
                == 204
            )
            reads = [side.call("GET", f"/v1.0/state/{store}/{name}") for side in (one, other)]
            assert reads[0].body == reads[1].body == ("ü".encode() if store == "sealed" else '"ü"'.encode())
            assert reads[0].get("etag") == reads[1].get("etag")
            assert reads[0].get("metadata.ttlexpiretime") == reads[1].get("metadata.ttlexpiretime")
            etag = f"If-Match: {reads[0].get('etag')}"
            assert other.call("DELETE", f"/v1.0/state/{store}/{name}", etag).status == 204
            assert one.call("GET", f"/v1.0/state/{store}/{name}").status == 204
    assert os.path.exists(world.folder / "state.db-wal")
