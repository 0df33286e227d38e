"""Components of ours behind sockets of this process, and the pluggable components that call them there."""

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from pydapr import components
from pydapr.api.pluggable import pubsub, serving, state
from pydapr.components import Part
from pydapr.components.drivers import pluggable
from pydapr.net import server

_ADD: Mapping[str, Callable[[serving.Services], None]] = {
    "state": state.add,
    "pubsub": pubsub.add,
}


class Socket:
    """A socket with components of one type."""

    def __init__(self, type_: str, path: Path) -> None:
        found = components.find(type_)
        assert found is not None
        self._found, self._kind, self._path = found, type_.partition(".")[0], path

    async def plug(self, name: str, metadata: Mapping[str, str]) -> Part:
        """The pluggable component for a resource, not open yet."""
        environ = {"DAPR_COMPONENTS_SOCKETS_FOLDER": str(self._path.parent)}
        found = await pluggable.find(f"{self._kind}.{self._path.stem}", "v1", name, environ)
        assert found is not None
        made = found.make(components.read(found.options, metadata))
        assert isinstance(made, Part)
        return made

    def make(self, properties: Mapping[str, str]) -> Part:
        made = self._found.make(components.read(self._found.options, properties))
        assert isinstance(made, Part)
        return made


@contextlib.asynccontextmanager
async def at_socket(type_: str) -> AsyncIterator[Socket]:
    """Serves a type."""
    folder = Path(tempfile.mkdtemp(prefix="plug-"))
    socket = Socket(type_, folder / "served.sock")
    parts = serving.Parts(socket.make)
    services = serving.Services(parts)
    _ADD[type_.partition(".")[0]](services)
    one = server.Server(services.handler(), server.Options(with_http1=False))
    await one.listen_unix(str(folder / "served.sock"))
    try:
        yield socket
    finally:
        await parts.close()
        await one.stop(1.0)
        shutil.rmtree(folder, ignore_errors=True)
