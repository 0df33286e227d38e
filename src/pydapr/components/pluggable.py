"""What both sides of pluggable components know: where sockets are, and what stands on the wire.

Used by `components.drivers.pluggable`, which calls components of others, by `api.pluggable`, which offers ours to
others, and by the command line. Facts: v1.18.3, `pkg/components/pluggable`, `dapr/proto/components/v1`.
"""

import contextlib
import os
import stat
from collections.abc import Mapping

VARIABLE = "DAPR_COMPONENTS_SOCKETS_FOLDER"
FOLDER = "/tmp/dapr-components-sockets"

PACKAGE = "dapr.proto.components.v1"
INSTANCE = b"x-component-instance"
"""The name of the resource, by which one process tells several components of its type apart."""

SERVICES = {
    "state": ("StateStore",),
    "pubsub": ("PubSub",),
    "bindings": ("InputBinding", "OutputBinding"),
    "secretstores": ("SecretStore",),
}
"""The services of each kind, one of which makes a socket a component of it."""


def folder(environ: Mapping[str, str]) -> str:
    """Where sockets are looked for."""
    return environ.get(VARIABLE) or FOLDER


def has_folder(environ: Mapping[str, str]) -> bool:
    """Whether there may be sockets at all."""
    return os.path.isdir(folder(environ))


def sockets(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Names of types and paths of all sockets, in the order of their names."""
    where = folder(environ)
    try:
        names = sorted(os.listdir(where))
    except OSError:
        return []
    paths = [(_type_name(name), os.path.join(where, name)) for name in names]
    return [(name, path) for name, path in paths if name and _is_socket(path)]


def is_ours(path: str) -> bool:
    """Whether a socket belongs to the user of this process, or to root."""
    try:
        return os.stat(path).st_uid in (os.getuid(), 0)
    except OSError:
        return False


def _type_name(file: str) -> str:
    stem, dot, _ = file.rpartition(".")
    return stem if dot else file


def _is_socket(path: str) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISSOCK(os.stat(path).st_mode)
    return False
