"""Where a sidecar listens.

Apart from `sidecar_api.py`, which sends requests there, so that a run need not import an HTTP client before its
sidecar has been started.
"""

from typing import NamedTuple


class Address(NamedTuple):
    """Where a sidecar listens for HTTP; a socket's path wins over the port."""

    port: int
    socket_path: str = ""


def socket_path(directory: str, app_id: str, protocol: str) -> str:
    """The file a sidecar listens on that was given `--unix-domain-socket directory`."""
    return f"{directory}/dapr-{app_id}-{protocol}.socket"
