"""Files that are made together on a first start: all of them or none, however and whenever it ends.

What is made is first written down as a whole, in a file beside them that appears at once or not at all. From then on
it counts: whoever finds it (this process, the next start, another sentry that starts at the same moment) puts the
files in their places, which is the same whoever does it and however often, and takes it away. Nothing that is there
is ever replaced. Used by `store`.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence

NAME = ".dapr-sentry-first-start"
TRIES = 10
"""How often a file is written again that another sentry has taken for one that a dead one left behind."""


class Taken(Exception):
    """Somebody else was faster: what is there now has to be looked at again."""


class Journal:
    """What is written down, in the folder of the first of `paths`. Other files than these are never written."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._folder = os.path.dirname(paths[0]) or "."
        self._known = {os.path.relpath(path, self._folder): path for path in paths}
        self._path = os.path.join(self._folder, NAME)

    def write(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Makes the files. Raises `Taken`, `OSError`; then none of them is there, or `finish` will make them."""
        self._tidy([path for path, _ in files])
        texts = {os.path.relpath(path, self._folder): content.decode() for path, content in files}
        try:
            _put(self._path, json.dumps(texts).encode())
        except FileExistsError:
            raise Taken(f"{self._path}: another sentry makes an authority") from None
        self.finish()
        for path, content in files:
            if _content(path) != content:
                raise Taken(f"{path}: somebody else was faster")

    def finish(self) -> None:
        """Puts in place what is written down, if anything is. Raises `OSError`, and `ValueError` if it is not ours."""
        written = _content(self._path)
        if written is None:
            return
        files = self._read(written)
        # Where there is something else by now it counts, and what was written down has never been seen by anybody.
        if all(_content(path) in (None, content) for path, content in files.items()):
            for path, content in files.items():
                with contextlib.suppress(FileExistsError):
                    _put(path, content)
        for folder in self._tidy(files):
            _sync(folder)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        _sync(self._folder)

    def _read(self, written: bytes) -> Mapping[str, bytes]:
        try:
            texts = json.loads(written)
            return {self._known[name]: text.encode() for name, text in texts.items()}
        except KeyError as error:
            reason = f"{error} is none of the files of this authority"
        except (ValueError, AttributeError) as error:
            reason = str(error)
        raise ValueError(f"{self._path}, of a first start that was cut off: {reason}; move it away to go on without it")

    def _tidy(self, paths: Iterable[str]) -> set[str]:
        """Takes away what was cut off before it had its name; the folders of the files."""
        folders = {self._folder, *(os.path.dirname(path) or "." for path in paths)}
        for folder in folders:
            for name in os.listdir(folder):
                if name.startswith(f"{NAME}."):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(os.path.join(folder, name))
        return folders


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _put(path: str, content: bytes) -> None:
    """A file with this content appears, whole, for our user only. Raises `OSError`, of it `FileExistsError`."""
    for _ in range(TRIES):
        made = os.path.join(os.path.dirname(path), f"{NAME}.{os.urandom(8).hex()}")
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _fill(descriptor, content, path)
            with contextlib.suppress(FileNotFoundError):  # another sentry has tidied it away
                _name(made, path)
                return
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(made)
    raise FileNotFoundError(2, "gone again and again", path)


def _fill(descriptor: int, content: bytes, path: str) -> None:
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)  # whatever the umask is
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def _name(made: str, path: str) -> None:
    try:
        os.link(made, path)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:
        # A file system without hard links: there, two sentries that start at once are not kept apart in any moment.
        if os.path.lexists(path):
            raise FileExistsError(17, "file exists", path) from None
        os.rename(made, path)


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
