"""state.files keeps each value in a file of a folder. An example of a component of one's own: not for production.

The name of this file is that of its type, with `_` for what is no letter or digit; `DAPR_COMPONENTS_FOLDER` names the
folder that it is in. See docs/components.md.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote

from pydapr.components import component, option, options
from pydapr.components.state import (
    ETAG,
    KEYS_LIKE,
    NO_METADATA,
    Delete,
    ETagMismatch,
    Item,
    Keys,
    Set,
    StateError,
    StateStore,
)


@options
class Options:
    folder: str = option("Where the files are. It is made if it is not there.")
    suffix: str = option("How the names of the files end.", default=".value")


@component("state.files", Options)
class Files(StateStore):
    """Reading and writing small files is quick enough to be done in place; what waits long belongs into a task."""

    features = (ETAG, KEYS_LIKE)

    def __init__(self, options: Options) -> None:
        self._folder, self._suffix = Path(options.folder), options.suffix

    async def open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)

    async def get(self, key: str, *, consistency: str = "", metadata: Mapping[str, str] = NO_METADATA) -> Item | None:
        try:
            value = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"{key} cannot be read: {error.strerror}") from None
        return Item(value, hashlib.sha256(value).hexdigest()[:16])

    async def set(self, request: Set) -> None:
        await self._check(request.key, request.etag, request.must_be_new)
        path = self._path(request.key)
        new = path.with_suffix(".new")
        try:
            new.write_bytes(request.value)
            new.replace(path)
        except OSError as error:
            raise StateError(f"{request.key} cannot be written: {error.strerror}") from None

    async def delete(self, request: Delete) -> None:
        await self._check(request.key, request.etag, False)
        self._path(request.key).unlink(missing_ok=True)

    async def keys(self, prefix: str, *, limit: int, token: str = "") -> Keys:
        names = (unquote(path.name.removesuffix(self._suffix)) for path in self._folder.glob(f"*{self._suffix}"))
        found = sorted(name for name in names if name.startswith(prefix) and name > token)
        return Keys(found[:limit], found[limit - 1] if len(found) > limit else "")

    async def _check(self, key: str, etag: str, must_be_new: bool) -> None:
        if not etag and not must_be_new:
            return
        found = await self.get(key)
        if (found is not None) if must_be_new else (found is None or found.etag != etag):
            raise ETagMismatch

    def _path(self, key: str) -> Path:
        return self._folder / f"{quote(key, safe='')}{self._suffix}"
