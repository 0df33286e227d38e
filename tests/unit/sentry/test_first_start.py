"""The first start: all files or none, killed at any moment, and one authority among sentries that start together."""

import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pydapr.sentry import bundle, first_start, store

NAMES = ("ca.crt", "issuer.crt", "issuer.key", "jwt.key", "jwks.json")


@pytest.fixture
def paths(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "credentials").mkdir()
    return tuple(str(tmp_path / "credentials" / name) for name in NAMES)


def _files(paths: tuple[str, ...], what: str = "mine") -> list[tuple[str, bytes]]:
    return [(path, f"{os.path.basename(path)} of {what}".encode()) for path in paths[:3]]


def _there(paths: tuple[str, ...]) -> dict[str, bytes]:
    folder = Path(paths[0]).parent
    return {str(path): path.read_bytes() for path in folder.iterdir()}


def _child(work: Callable[[], object]) -> int:
    """The status of a process that does `work`."""
    pid = os.fork()
    if pid == 0:
        status = 3
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Killed:
    """`os` for a process that is gone before its `step`th call of it."""

    def __init__(self, step: int) -> None:
        self._left = step

    def __getattr__(self, name: str) -> object:
        found = getattr(os, name)
        if not callable(found) or name == "path":
            return found

        def call(*arguments: object) -> object:
            self._left -= 1
            if not self._left:
                os._exit(9)
            return found(*arguments)

        return call


def _read(paths: tuple[str, ...]) -> Mapping[str, bytes] | None:
    """What the next start finds."""
    kept = store.Folder(paths)
    kept._finish()
    found = kept.read({path: path for path in paths[:3]})
    return None if found is None else dict(zip(paths, found, strict=False))


def test_files_are_whole_and_for_our_user_only(paths: tuple[str, ...]) -> None:
    before = os.umask(0o777)
    try:
        first_start.Journal(paths).write(_files(paths))
    finally:
        os.umask(before)
    assert {stat.S_IMODE(os.stat(path).st_mode) for path in paths[:3]} == {0o600}
    assert _there(paths) == dict(_files(paths))


def test_files_may_be_in_several_folders_and_only_theirs_matter(paths: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    apart = (*paths[:2], str(tmp_path / "keys" / "issuer.key"), str(tmp_path / "nowhere" / "jwt.key"), paths[4])
    first_start.Journal(apart).write(_files(apart))
    assert _read(apart) == dict(_files(apart))
    assert os.listdir(tmp_path / "keys") == ["issuer.key"]


def test_killed_at_any_step_there_is_one_authority_or_none_and_the_next_start_goes_on(
    paths: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = []
    step, status = 0, 9
    while status:
        step += 1

        def first(step: int = step) -> None:
            monkeypatch.setattr(first_start, "os", Killed(step))
            first_start.Journal(paths).write(_files(paths))

        status = _child(first)
        assert status in (0, 9)
        seen = {path: content for path, content in _there(paths).items() if path in paths}
        found = _read(paths)
        outcomes.append(found is not None)
        if found is None:
            assert not seen
            first_start.Journal(paths).write(_files(paths, "the next"))
            found = dict(_files(paths, "the next"))
        else:
            assert found == dict(_files(paths))
            assert seen.items() <= found.items()
        assert _there(paths) == found
        for path in paths[:3]:
            os.unlink(path)
    assert outcomes == sorted(outcomes)
    assert outcomes.count(False) > 3 and outcomes.count(True) > 10


def test_sentries_that_start_together_have_one_authority(paths: tuple[str, ...], tmp_path: Path) -> None:
    def start(name: str, go: int) -> None:
        os.read(go, 1)
        for _ in range(5):
            found = _read(paths)
            if found is not None:
                (tmp_path / name).write_bytes(json.dumps([content.decode() for content in found.values()]).encode())
                return
            try:
                first_start.Journal(paths).write(_files(paths, name))
            except first_start.Taken:
                continue

    for turn in range(20):
        go, signal = os.pipe()
        children = []
        for number in range(5):
            pid = os.fork()
            if pid == 0:
                try:
                    os.close(signal)
                    start(f"{turn}-{number}", go)
                finally:
                    os._exit(0)
            children.append(pid)
        os.close(go)
        os.close(signal)
        for pid in children:
            os.waitpid(pid, 0)
        results = {(tmp_path / f"{turn}-{number}").read_bytes() for number in range(5)}
        assert len(results) == 1
        assert set(_there(paths)) == set(paths[:3])
        for path in paths[:3]:
            os.unlink(path)


@pytest.mark.parametrize("number", range(3))
def test_what_is_there_is_not_written_over(paths: tuple[str, ...], number: int) -> None:
    Path(paths[number]).write_text("mine")
    with pytest.raises(first_start.Taken, match="somebody else was faster"):
        first_start.Journal(paths).write(_files(paths))
    assert _there(paths) == {paths[number]: b"mine"}


def test_a_part_that_another_sentry_is_just_completing_is_not_missing(paths: tuple[str, ...]) -> None:
    kept = store.Folder(paths)
    files = _files(paths)
    Path(paths[2]).write_bytes(files[2][1])
    Path(paths[0]).parent.joinpath(first_start.NAME).write_text(
        json.dumps({os.path.basename(path): content.decode() for path, content in files})
    )
    assert kept.read({path: path for path in paths[:3]}) == [content for _, content in files]
    assert _there(paths) == dict(files)


@pytest.mark.parametrize(
    "written", ["", "[]", '{"ca.crt": 1}', '{"../evil": "x"}', '{"/tmp/evil": "x"}', '{"config": "x"}']
)
def test_only_files_of_the_authority_are_ever_written(paths: tuple[str, ...], written: str) -> None:
    journal = Path(paths[0]).parent / first_start.NAME
    journal.write_text(written)
    with pytest.raises(bundle.Refused, match=r"of a first start that was cut off: .*; move it away"):
        _read(paths)
    assert set(_there(paths)) == {str(journal)}


async def test_a_folder_that_cannot_be_written_to_is_named(paths: tuple[str, ...], tmp_path: Path) -> None:
    gone = tuple(path.replace("credentials", "nowhere") for path in paths)
    with pytest.raises(bundle.Refused, match=r"failed to write file .*nowhere.*: no such file or directory"):
        await store.Folder(gone).write(_files(gone))


async def test_on_a_full_disk_nothing_is_begun(paths: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", fsync)
        with pytest.raises(bundle.Refused, match=r"failed to write file .*first-start: no space left on device"):
            await store.Folder(paths).write(_files(paths))
    assert not _there(paths)


def test_a_file_system_without_hard_links_will_do(paths: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def link(made: str, path: str) -> None:
        raise PermissionError(1, "operation not permitted")

    monkeypatch.setattr(os, "link", link)
    first_start.Journal(paths).write(_files(paths))
    assert _there(paths) == dict(_files(paths))
    with pytest.raises(first_start.Taken):
        first_start.Journal(paths).write(_files(paths, "another"))
    assert _there(paths) == dict(_files(paths))
