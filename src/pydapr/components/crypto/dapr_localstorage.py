"""crypto.dapr.localstorage has the keys in files of a folder: `.pem`, `.json` (one JWK), or the bytes of a secret.

A key's name is its file's, with folders below. Files are read each time, so that a new key is there at once. For
development: whoever reads the folder has the keys.
"""

import os

from pydapr.components import Wrong, component, option, options
from pydapr.components.crypto import CryptoError
from pydapr.components.drivers import jwk, thread
from pydapr.components.drivers.localkeys import LocalKeys

_FORMS: dict[str, jwk.Form] = {".json": "jwk", ".pem": "pem"}
MAX_BYTES = 1024 * 1024


@options
class Options:
    path: str = option("The folder; a relative one begins where the sidecar was started.")


@component("crypto.dapr.localstorage", Options)
class LocalStorage(LocalKeys):
    def __init__(self, options: Options) -> None:
        self._path = os.path.normpath(options.path)

    async def open(self) -> None:
        await thread.run(self._check)

    def _check(self) -> None:
        try:
            os.stat(self._path)
        except OSError as error:
            raise OSError(f"could not stat path '{self._path}': {(error.strerror or str(error)).lower()}") from None
        if not os.path.isdir(self._path):
            raise Wrong(f"path '{self._path}' is not a directory")

    def key(self, name: str) -> jwk.Key:
        if ".." in name or "\0" in name:
            raise CryptoError("invalid key path: cannot contain '..'")
        path = os.path.normpath(f"{self._path}/{name}")
        try:
            with open(path, "rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise CryptoError(f"failed to load key '{name}': open {path}: {reason}") from None
        try:
            if len(data) > MAX_BYTES:
                raise jwk.Unusable("it is too large")
            return jwk.parse(data, _FORMS.get(os.path.splitext(path)[1].lower(), ""))
        except jwk.Unusable as error:
            raise CryptoError(f"failed to parse key from secret: {error}") from None
