"""Secrets from a JSON file."""

from pathlib import Path

import pytest

from pydapr.components import Wrong
from pydapr.components.secretstores import SecretStoreError
from pydapr.components.secretstores.local_file import LocalFile, Options


async def opened(folder: Path, text: str, separator: str = "", multi_valued: bool = False) -> LocalFile:
    path = folder / "secrets.json"
    path.write_text(text)
    store = LocalFile(Options(secrets_file=str(path), nested_separator=separator, multi_valued=multi_valued))
    await store.open()
    return store


async def test_nested_objects_become_names(tmp_path: Path) -> None:
    store = await opened(tmp_path, '{"redis": {"host": "h", "ports": ["1", {"tls": "2"}]}, "plain": "p"}')

    assert {name: values[name] for name, values in (await store.get_bulk({})).items()} == {
        "redis:host": "h",
        "redis:ports:0": "1",
        "redis:ports:1:tls": "2",
        "plain": "p",
    }
    with pytest.raises(SecretStoreError, match=r"^secret redis not found$"):
        await store.get("redis", {})


async def test_separator_can_be_chosen(tmp_path: Path) -> None:
    store = await opened(tmp_path, '{"a": {"b": "c"}}', separator="/")

    assert await store.get("a/b", {}) == {"a/b": "c"}


async def test_multi_valued_secrets_have_keys(tmp_path: Path) -> None:
    store = await opened(tmp_path, '{"a": {"b": "1", "c": {"d": "2"}}, "e": "3", "f": {}}', ".", multi_valued=True)

    assert await store.get("a", {}) == {"b": "1", "c.d": "2"}
    assert await store.get("e", {}) == {"e": "3"}
    assert await store.get("f", {}) == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [("12345678901234567890", "12345678901234567890"), ("1.50", "1.50"), ("true", "true"), ("null", "")],
)
async def test_scalars_are_texts_as_they_stand(tmp_path: Path, text: str, value: str) -> None:
    for multi_valued in (False, True):
        store = await opened(tmp_path, f'{{"a": {text}}}', multi_valued=multi_valued)
        assert await store.get("a", {}) == {"a": value}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": "hush"', "holds no JSON: Expecting ',' delimiter: line 1 column 13"),
        ('["hush"]', "holds no JSON object"),
        ('{"a": {"b": "hush"}, "a:b": "hush"}', "a:b is there twice"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
async def test_file_that_cannot_be_used_is_an_error_that_shows_nothing_of_it(
    tmp_path: Path, text: str, reason: str
) -> None:
    with pytest.raises(Wrong, match=reason) as error:
        await opened(tmp_path, text)

    assert str(tmp_path) in str(error.value)
    assert "hush" not in str(error.value)


async def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"^open .*nothing\.json: no such file or directory$"):
        await LocalFile(Options(secrets_file=str(tmp_path / "nothing.json"))).open()
