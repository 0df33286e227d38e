"""`dapr component serve`: any component of pydapr, or of one's own, as a pluggable component for other sidecars."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pydapr.cli import grammar, kinds, status

if TYPE_CHECKING:
    from pydapr.api.pluggable.serving import Services
    from pydapr.components import Found

FLAGS = (
    grammar.Flag("name", "The name that resources use in their type, <kind>.<name> (default: that of the type)"),
    grammar.Flag("socket-folder", "The folder for the socket (default: DAPR_COMPONENTS_SOCKETS_FOLDER, or /tmp/…)"),
    grammar.Flag("type", "The type of the component, such as state.redis", short="t", required=True),
    grammar.Flag("type-version", "The version of the type, such as v2"),
)

EXAMPLE = """\
# Resources of the original's sidecar may say `type: state.lite` from now on
dapr component serve --type state.sqlite --name lite
"""

STOP_SECONDS = 5.0
"""How long calls under way may take when the process is to end."""


def run(values: grammar.Values, arguments: list[str]) -> int:
    if arguments != ["serve"]:
        status.failure("What should be done with the component? There is: dapr component serve --type TYPE")
        return 1
    type_, version = values.text("type"), values.text("type-version")
    found, reason = kinds.find(type_, version)
    if found is None:
        status.failure(reason)
        return 1
    kind, _, own_name = type_.partition(".")
    name = values.text("name") or own_name
    if not kinds.is_servable(kind):
        status.failure(f"{type_} cannot be served: pluggable components are {kinds.SERVABLE}")
        return 1
    if not name or name != os.path.basename(name):
        status.failure(f"--name {name} is no name of a file")
        return 1
    folder = values.text("socket-folder") or kinds.socket_folder()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(found, kind.lower(), os.path.join(folder, f"{name}.sock"), f"{kind}.{name}"))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """As the sidecar's."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


async def _serve(found: "Found", kind: str, path: str, shown: str) -> int:
    from pydapr import DAPR_VERSION
    from pydapr.api.pluggable import serving
    from pydapr.components import Part, read
    from pydapr.net import server
    from pydapr.observe import logging

    logging.configure(version=DAPR_VERSION)

    def make(properties: Mapping[str, str]) -> Part:
        made = found.make(read(found.options, properties, frozenset(properties)))
        assert isinstance(made, Part)
        return made

    parts = serving.Parts(make)
    services = serving.Services(parts)
    _add(services, found, kind)
    one = server.Server(services.handler(), server.Options(with_http1=False))
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        await one.listen_unix(path)
    except OSError as error:
        status.failure(f"{path}: {error.strerror or error}")
        return 1
    status.success(f"{found.name} is served at {path}: type {shown}")
    await stop.wait()
    async with asyncio.TaskGroup() as group:
        group.create_task(one.stop(STOP_SECONDS))
        group.create_task(parts.end_streams())
    await parts.close()
    return 0


def _add(services: "Services", found: "Found", kind: str) -> None:
    """The services of the kind, of bindings those that the component has."""
    if kind == "state":
        from pydapr.api.pluggable import state

        state.add(services)
    elif kind == "pubsub":
        from pydapr.api.pluggable import pubsub

        pubsub.add(services)
    elif kind == "secretstores":
        from pydapr.api.pluggable import secretstores

        secretstores.add(services)
    else:
        from pydapr.api.pluggable import bindings
        from pydapr.components.bindings import InputBinding, OutputBinding

        if issubclass(found.make, InputBinding):  # type: ignore[arg-type]  # what `component` has marked is a class
            bindings.add_input(services)
        if issubclass(found.make, OutputBinding):  # type: ignore[arg-type]
            bindings.add_output(services)
