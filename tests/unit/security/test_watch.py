"""Noticing that files have changed."""

import asyncio
import os
from pathlib import Path

from pydapr.security import watch


async def _noticed(paths: tuple[str, ...], before: watch.State) -> watch.State:
    async with asyncio.timeout(10):
        return await watch.changed(paths, before, 0.001)


async def test_a_change_is_noticed_once_it_is_over(tmp_path: Path) -> None:
    path = tmp_path / "a"
    paths = (str(path), str(tmp_path / "b"))
    before = watch.state(paths)
    assert before == (None, None)
    path.write_text("1")
    after = await _noticed(paths, before)
    assert after == watch.state(paths) != before


async def test_a_link_that_is_swapped_is_a_change(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text("same")
    link = tmp_path / "link"
    link.symlink_to("one")
    before = watch.state((str(link),))
    (tmp_path / "new").symlink_to("two")
    os.replace(tmp_path / "new", link)
    assert await _noticed((str(link),), before) != before


async def test_what_comes_back_as_it_was_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("1")
    before = watch.state((str(path),))
    waiting = asyncio.create_task(_noticed((str(path),), before))
    os.rename(path, tmp_path / "b")
    os.rename(tmp_path / "b", path)
    done, _ = await asyncio.wait((waiting,), timeout=0.05)
    assert not done
    waiting.cancel()
