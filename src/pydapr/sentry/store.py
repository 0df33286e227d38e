"""Where the authority is kept: files in a folder, or in Kubernetes the Secret and ConfigMap `dapr-trust-bundle`.

Made by `runtime`. Both refuse to replace what is there.
"""

import base64
import binascii
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydapr.observe import logging
from pydapr.sentry import bundle as bundles
from pydapr.sentry import first_start

if TYPE_CHECKING:
    from pydapr.sentry.kube import Api, Object

log = logging.get("dapr.sentry.ca")

NAME = "dapr-trust-bundle"
CONFLICT = 409


class Store(ABC):
    """What is kept, by the paths of files. `what` names it in the log."""

    what = ""

    async def refresh(self) -> None:
        """Looks at what is there now. Raises `first_start.Taken` when it has just changed, `bundle.Refused`."""
        return None

    @abstractmethod
    def read(self, paths: Mapping[str, str]) -> list[bytes] | None:
        """What belongs together, None when nothing of it is there. Raises `bundle.Refused` when a part is missing."""

    @abstractmethod
    async def write(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Keeps what was not there. Raises `first_start.Taken` when it is there by now, `bundle.Refused`."""


class Folder(Store):
    """Files; `paths` are all that there may be."""

    what = "local file system"

    def __init__(self, paths: Sequence[str]) -> None:
        self._journal = first_start.Journal(paths)

    async def refresh(self) -> None:
        self._finish()

    def read(self, paths: Mapping[str, str]) -> list[bytes] | None:
        try:
            return bundles.read_files(paths)
        except bundles.Missing:
            self._finish()  # another sentry may just be making them
            return bundles.read_files(paths)

    async def write(self, files: Sequence[tuple[str, bytes]]) -> None:
        try:
            self._journal.write(files)
        except OSError as error:
            raise _failed(error) from None

    def _finish(self) -> None:
        try:
            self._journal.finish()
        except OSError as error:
            raise _failed(error) from None
        except ValueError as error:
            raise bundles.Refused(str(error)) from None


def _failed(error: OSError) -> bundles.Refused:
    reason = (error.strerror or str(error)).lower()
    return bundles.Refused(f"failed to write file {error.filename2 or error.filename or ''}: {reason}")


class Cluster(Store):
    """Objects of Kubernetes, which have to be there; keys are the names of the files. The root certificates, and the
    public keys of tokens, stand in the ConfigMap too, for those who may not read the Secret."""

    what = "kubernetes secret store"

    def __init__(self, api: "Api", namespace: str, public: Sequence[str]) -> None:
        self._api = api
        self._secret = f"/api/v1/namespaces/{namespace}/secrets/{NAME}"
        self._map = f"/api/v1/namespaces/{namespace}/configmaps/{NAME}"
        self._public = [os.path.basename(path) for path in public]
        self._content: dict[str, bytes] = {}

    async def refresh(self) -> None:
        secret = await self._get(self._secret, "failed to get trust bundle secret")
        try:
            data = secret.get("data") or {}
            self._content = {name: base64.b64decode(value, validate=True) for name, value in data.items()}
        except (binascii.Error, TypeError) as error:
            raise bundles.Refused(f"failed to get trust bundle secret: {error}") from None
        await self._publish()

    def read(self, paths: Mapping[str, str]) -> list[bytes] | None:
        names = [os.path.basename(path) for path in paths.values()]
        missing = [name for name in names if not self._content.get(name)]
        if not missing:
            return [self._content[name] for name in names]
        if len(missing) == len(names):
            return None
        there = [name for name in names if name not in missing]
        raise bundles.missing(missing, [f"{name} in the secret {NAME}" for name in there])

    async def write(self, files: Sequence[tuple[str, bytes]]) -> None:
        from pydapr.sentry.kube import Failed

        new = {os.path.basename(path): content for path, content in files}
        secret = await self._get(self._secret, "failed to get trust bundle secret")
        data = dict(secret.get("data") or {})
        if taken := [name for name in new if data.get(name)]:
            raise first_start.Taken(f"trust bundle secret: {', '.join(taken)}: somebody else was faster")
        data |= {name: base64.b64encode(content).decode() for name, content in new.items()}
        try:
            # Its resourceVersion is in the secret: when somebody else writes now, the API server refuses.
            await self._api.put(self._secret, {**secret, "data": data})
        except Failed as error:
            if error.status == CONFLICT:
                raise first_start.Taken(f"trust bundle secret: {error}") from None
            raise bundles.Refused(f"failed to update trust bundle secret: {error}") from None
        self._content |= new
        await self._publish()

    async def _publish(self) -> None:
        """Has the ConfigMap say what the Secret does."""
        from pydapr.sentry.kube import Failed

        found = await self._get(self._map, "failed to get trust bundle configmap")
        before = found.get("data") or {}
        content = {
            name: self._content[name].decode("utf-8", "replace") for name in self._public if name in self._content
        }
        if all(before.get(name) == value for name, value in content.items()):
            return
        log.info(f"Updating the configmap {NAME}: {', '.join(content)}")
        try:
            await self._api.put(self._map, {**found, "data": {**before, **content}})
        except Failed as error:
            if error.status == CONFLICT:
                raise first_start.Taken(f"trust bundle configmap: {error}") from None
            raise bundles.Refused(f"failed to update trust bundle configmap: {error}") from None

    async def _get(self, path: str, what: str) -> "Object":
        from pydapr.sentry.kube import Failed

        try:
            return await self._api.get(path)
        except Failed as error:
            raise bundles.Refused(f"{what}: {error}") from None
