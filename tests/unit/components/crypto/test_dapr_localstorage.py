"""Keys in the files of a folder."""

import os
from pathlib import Path

import pytest

from pydapr import components
from pydapr.components.crypto import CryptoError
from pydapr.components.crypto.dapr_localstorage import MAX_BYTES, LocalStorage, Options
from pydapr.components.drivers import localkeys

KEY = bytes(32)


async def opening(path: object) -> LocalStorage:
    made = LocalStorage(components.read(Options, {"path": str(path)}))
    await made.open()
    return made


async def test_a_key_that_is_put_there_later_is_found(tmp_path: Path) -> None:
    provider = await opening(f"{tmp_path}/./")
    (tmp_path / "a").write_bytes(bytes(range(32)))

    wrapped = await provider.wrap(KEY, "A256KW", "a")

    assert await provider.unwrap(wrapped, "A256KW", "/a") == KEY


@pytest.mark.parametrize("name", ["../a", "a/../../b", "..", "a\0b"])
async def test_a_name_does_not_leave_the_folder(tmp_path: Path, name: str) -> None:
    provider = await opening(tmp_path)

    with pytest.raises(CryptoError, match="invalid key path"):
        await provider.wrap(KEY, "A256KW", name)


async def test_a_file_that_is_too_large_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(MAX_BYTES + 1))

    with pytest.raises(CryptoError, match="too large"):
        await (await opening(tmp_path)).wrap(KEY, "A256KW", "large")


async def test_a_file_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(localkeys, "LONGEST_SECONDS", 0.05)
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(CryptoError, match=r"no answer within 0.05 s"):
        await (await opening(tmp_path)).wrap(KEY, "A256KW", "pipe")

    os.close(os.open(tmp_path / "pipe", os.O_WRONLY | os.O_NONBLOCK))  # lets the thread go


async def test_a_folder_that_is_none_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="could not stat path"):
        await opening(tmp_path / "gone")
    (tmp_path / "file").touch()
    with pytest.raises(components.Wrong, match="is not a directory"):
        await opening(tmp_path / "file")


async def test_kubernetes_secrets_are_refused_with_a_way_out() -> None:
    found = components.find("crypto.dapr.kubernetes.secrets")
    assert found is not None

    with pytest.raises(OSError, match=r"not available in this version of pydapr; .* use crypto\.dapr\.localstorage"):
        await found.make(components.read(found.options, {})).open()
