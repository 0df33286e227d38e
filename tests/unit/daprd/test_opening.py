"""The order in which components open, and what becomes of those that cannot."""

import contextlib
import json
import os
from pathlib import Path

import pytest

from pydapr.daprd import components, opening, references
from pydapr.daprd.components import CannotOpen, Opened, Surroundings
from pydapr.resources.component import Component
from pydapr.resources.fields import NameValue, SecretKeyRef

AROUND = Surroundings("shop", "production", {"POD_NAME": "pod-1"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds a.json, whose secret `path` is the path of b.json, and so on; the last one holds `value`."""
    for name, following in (("a", "b"), ("b", "c")):
        (tmp_path / f"{name}.json").write_text(json.dumps({"path": str(tmp_path / f"{following}.json")}))
    (tmp_path / "c.json").write_text('{"direction": "response", "value": "many"}')
    return tmp_path


def store(name: str, path: Path, **fields: object) -> Component:
    metadata = (NameValue("secretsFile", str(path)),)
    return Component(name, type="secretstores.local.file", version="v1", metadata=metadata, **fields)  # type: ignore[arg-type]


def from_secret(name: str, type_: str, key: str, of: str, in_store: str, **fields: object) -> Component:
    metadata = (NameValue(key, secret_key_ref=SecretKeyRef(of, of)),)
    return Component(name, type=type_, version="v1", metadata=metadata, secret_store=in_store, **fields)  # type: ignore[arg-type]


async def open_all(*wanted: Component, denied: tuple[str, ...] = ()) -> Opened:
    opened = Opened()
    async with contextlib.AsyncExitStack() as stack:
        await opening.Opening(AROUND, denied, opened, stack).open_all(wanted)
    return opened


async def test_component_waits_for_its_store_and_the_store_for_its_own(folder: Path) -> None:
    opened = await open_all(
        from_secret("up", "middleware.http.uppercase", "direction", "direction", "c"),
        from_secret("c", "secretstores.local.file", "secretsFile", "path", "b"),
        from_secret("b", "secretstores.local.file", "secretsFile", "path", "a"),
        store("a", folder / "a.json"),
    )

    assert list(opened.parts) == ["a", "b", "c", "up"]
    assert not opened.broken
    assert list(opened.secret_stores) == ["a", "b", "c"]


@pytest.mark.parametrize("in_store", ["nowhere", "one"])
async def test_component_whose_store_never_comes_is_not_loaded(
    in_store: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    two = from_secret("two", "secretstores.local.file", "secretsFile", "path", "one")
    one = from_secret("one", "secretstores.local.file", "secretsFile", "path", "two")
    waiting = from_secret("up", "middleware.http.uppercase", "direction", "k", in_store, file="/r/up.yaml")

    opened = await open_all(one, two, waiting, store("a", folder / "a.json"))

    assert list(opened.parts) == ["a"]
    assert opened.broken == {"one", "two", "up"}
    assert (
        f"Component up (/r/up.yaml): direction is to come from key k of secret k in secret store {in_store}, "
        "but that store is not loaded" in capfd.readouterr().out
    )


async def test_missing_secret_leaves_the_value_empty(folder: Path) -> None:
    opened = await open_all(
        store("c", folder / "c.json"), from_secret("up", "middleware.http.uppercase", "direction", "no", "c")
    )

    assert list(opened.parts) == ["c", "up"]


async def test_component_that_cannot_open_ends_the_start_and_shows_no_secret(folder: Path) -> None:
    limit = from_secret("slow", "middleware.http.ratelimit", "maxRequestsPerSecond", "value", "c", file="/r/slow.yaml")

    with pytest.raises(CannotOpen, match=r"maxRequestsPerSecond: .* is no number \(/r/slow.yaml\)") as error:
        await open_all(store("c", folder / "c.json"), limit)
    assert "many" not in str(error.value)

    opened = await open_all(store("c", folder / "c.json"), limit.replace(ignore_errors=True))
    assert (list(opened.parts), opened.broken) == (["c"], {"slow"})


async def test_own_wish_of_a_waiting_component_counts_not_that_of_its_store(folder: Path) -> None:
    waiting = from_secret("slow", "middleware.http.ratelimit", "maxRequestsPerSecond", "value", "c")

    with pytest.raises(CannotOpen, match="slow"):
        await open_all(waiting, store("c", folder / "c.json", ignore_errors=True))


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (Component("x", type="workflow.dapr"), "^process component x error: incorrect type workflow.dapr$"),
        (Component("x", type="nameresolution.mdns"), "incorrect type nameresolution.mdns"),
        (Component("x", type="secretstores.kubernetes", version="v1"), "couldn't find secret store secretstores.kub"),
        (Component("x", type="secretstores.local.env", version="v2"), "couldn't find secret store .*local.env/v2; "),
        (
            Component("x", type="secretstores.local.file", version="v1"),
            r"\[INIT_COMP.*secretsFile is required",
        ),
    ],
)
async def test_reason_is_told(wanted: Component, reason: str) -> None:
    with pytest.raises(CannotOpen, match=reason):
        await open_all(wanted)


async def test_types_that_are_there_are_named() -> None:
    with pytest.raises(CannotOpen, match=r"pydapr has secretstores\..*, secretstores.local.env, secretstores.local"):
        await open_all(Component("x", type="secretstores.lokal.file", version="v1"))


@pytest.mark.parametrize("denied", ["secretstores.local.file", "secretstores.local.file/v1", "SecretStores.Local.File"])
@pytest.mark.parametrize("spelt", ["secretstores.local.file", "secretstores.Local.FILE"])
@pytest.mark.parametrize("version", ["", "v0", "V1"])
async def test_denied_type_is_not_opened(folder: Path, denied: str, spelt: str, version: str) -> None:
    wanted = store("a", folder / "a.json").replace(type=spelt, version=version)

    opened = await open_all(wanted, denied=(denied,))

    assert (list(opened.parts), opened.broken) == ([], {"a"})


async def test_another_version_than_the_denied_one_is_opened(folder: Path) -> None:
    opened = await open_all(store("a", folder / "a.json"), denied=("secretstores.local.file/v2", "secretstores.local"))

    assert list(opened.parts) == ["a"]


async def test_nameless_component_is_passed_over() -> None:
    assert not (await open_all(Component("", type="secretstores.local.env", version="v1"))).parts


async def test_opening_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # who reads it waits for somebody to write
    slow = store("slow", tmp_path / "pipe", init_timeout="50ms")

    with pytest.raises(CannotOpen, match=r"init timeout for component slow \(secretstores.local.file/v1\)"):
        await open_all(slow)


def test_listing_tells_version_and_capabilities_where_there_are_some(folder: Path) -> None:
    opened = Opened()
    from pydapr.components.secretstores.local_file import LocalFile, Options

    many = LocalFile(Options(secrets_file="x", multi_valued=True))
    opened.parts = {
        "a": (Component("a", type="secretstores.local.file"), many),
        "b": (store("b", folder), LocalFile(Options(secrets_file="x"))),
    }

    assert opened.listed() == [
        {"name": "a", "type": "secretstores.local.file", "capabilities": ["MULTIPLE_KEY_VALUES_PER_SECRET"]},
        {"name": "b", "type": "secretstores.local.file", "version": "v1"},
    ]


def test_metadata_is_filled_in() -> None:
    fill = components._filled

    assert fill("k", "{appID}-{namespace}-{podName}", AROUND) == "shop-production.shop-pod-1"
    assert fill("k", "{uuid}{uuid}", AROUND) not in ("{uuid}{uuid}", "")
    with pytest.raises(ValueError, match=r"property k refers to \{podName\} but podName is not set"):
        fill("k", "{podName}", AROUND.replace(environ={}))


@pytest.mark.parametrize(("type_", "is_strict"), [("middleware.http.wasm", True), ("middleware.http.uppercase", False)])
def test_configuration_can_have_web_assembly_run_in_the_strict_sandbox(type_: str, is_strict: bool) -> None:
    around = AROUND.replace(strict_sandbox=True)
    given = references.Given((("url", "u"), ("STRICTsandbox", "false")))

    found = components._properties(Component("x", type=type_), given, around)

    assert found == ({"url": "u", "strictSandbox": "true"} if is_strict else dict(given.pairs))
