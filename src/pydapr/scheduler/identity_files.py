"""The scheduler's identity as files, for an etcd or whoever else on the machine is to be met with it.

Called by `runtime` under mTLS, at the start and at each renewal. Files are the original's: `key.pem`, `cert.pem`,
`ca.pem`, and `jwt_svid.token` when there is one. The folder is a link to the current ones and changes as a whole.
"""

import os
import shutil
import time

from pydapr.observe import logging
from pydapr.security import svid, trust

log = logging.get("dapr.runtime.security")


class IdentityFolder:
    """`path` is the link; the folders that it has led to stand beside it."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._before = ""

    def write(self, identity: svid.Identity, anchors: trust.Anchors) -> None:
        """Shows this identity from now on. What cannot be written is told in the log: the scheduler itself does not
        need these files."""
        files = {"key.pem": identity.key, "cert.pem": identity.chain, "ca.pem": anchors.pem.encode()}
        if identity.jwt:
            files["jwt_svid.token"] = identity.jwt.encode()
        try:
            self._write(files)
        except OSError as error:
            log.error(f"Failed to write the identity to {self._path}: {error.strerror or error}")

    def _write(self, files: dict[str, bytes]) -> None:
        base, name = os.path.split(self._path)
        before = self._before or self._left_behind()
        current = os.path.join(base, f"{time.time_ns()}-{name}")
        os.makedirs(current, mode=0o700)
        for file, data in files.items():
            descriptor = os.open(os.path.join(current, file), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as opened:
                opened.write(data)
        link = f"{current}.link"
        os.symlink(os.path.basename(current), link)
        if os.path.isdir(self._path) and not os.path.islink(self._path):
            os.rename(self._path, f"{current}.old")  # made by somebody else, and not ours to remove
        os.replace(link, self._path)
        self._before = current
        if before:
            shutil.rmtree(before, ignore_errors=True)

    def _left_behind(self) -> str:
        """The folder with the key of a scheduler that was here before us, if there is one."""
        base, name = os.path.split(self._path)
        try:
            found = os.readlink(self._path)
        except OSError:
            return ""
        number, _, rest = found.partition("-")
        return os.path.join(base, found) if number.isdecimal() and rest == name else ""
