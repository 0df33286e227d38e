"""Ports for a run: free ones that stay ours until the sidecar listens, and given ones checked.

Asking the system for a port and giving it back leaves a gap in which a second run may get the same one
(CommunityToolkit/Aspire#1509). On Linux the port stays bound, without listening, for the whole run: the
sidecar binds it too (both with SO_REUSEADDR), and the system gives it to nobody who asks for any port. Other
systems allow no second bind, so there the port is given back right before the sidecar starts.
"""

import socket
import sys

_CAN_SHARE = sys.platform == "linux"


class Reservation:
    """The ports of one run."""

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def take(self) -> int:
        """A free port, held until `close`."""
        holder = _bind(0)
        self._held.append(holder)
        return int(holder.getsockname()[1])

    def make_way(self) -> None:
        """The sidecar is about to bind: let go where two cannot hold the same port."""
        if not _CAN_SHARE:
            self.close()

    def close(self) -> None:
        while self._held:
            self._held.pop().close()


def is_free(port: int) -> bool:
    """Whether a sidecar could listen there now."""
    try:
        with _bind(port) as probe:
            probe.listen(1)
    except (OSError, OverflowError):
        return False
    return True


def _bind(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("", port))
    except BaseException:
        made.close()
        raise
    return made
