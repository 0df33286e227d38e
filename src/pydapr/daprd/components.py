"""From Component resources to open components. Called by `daprd.load`, in the order of the resources.

A component that cannot be opened ends the start, unless it says to ignore errors; the words are the original's.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from pydapr import components
from pydapr.components.middleware import Middleware
from pydapr.daprd import references
from pydapr.lib.record import Record
from pydapr.net.exchange import Handler
from pydapr.observe import logging
from pydapr.resources import component, configuration

log = logging.get("dapr.runtime.processor")
pipeline_log = logging.get("dapr.middleware.http")

KNOWN_BUT_MISSING = frozenset({"middleware.http.opa", "middleware.http.sentinel", "middleware.http.wasm"})
"""Types of the original that are not there yet."""


class CannotOpen(Exception):
    """A component cannot be used; the message is the reason."""


class Surroundings(Record):
    """What metadata may refer to."""

    app_id: str
    namespace: str
    environ: Mapping[str, str]


class Opened:
    """The components that are open, by category."""

    def __init__(self) -> None:
        self.middleware: dict[str, tuple[component.Component, Middleware]] = {}
        self.broken: set[str] = set()
        """Names of those that could not be opened and said to ignore that."""
        self.listed: list[dict[str, Any]] = []
        """As the metadata API shows them."""


async def open_middleware(
    wanted: component.Component, around: Surroundings, opened: Opened, stack: contextlib.AsyncExitStack
) -> None:
    """Opens one middleware. Raises `CannotOpen`."""
    version = wanted.version or "v1"
    found = components.find(wanted.type) if version in ("v0", "v1") else None
    if found is None:
        if wanted.type.lower() in KNOWN_BUT_MISSING:
            raise CannotOpen(f"HTTP middleware {wanted.type}/{version} is not available in this version of pydapr")
        raise CannotOpen(f"HTTP middleware {wanted.type}/{version} has not been registered")
    try:
        one = found.make(components.read(found.options, properties(wanted, around)))
        assert isinstance(one, Middleware)
        stack.push_async_callback(one.close)
        async with asyncio.timeout(wanted.init_timeout_seconds):
            await one.open()
    except TimeoutError:
        raise CannotOpen(f"init timeout for component {wanted.log_name}") from None
    except ModuleNotFoundError as error:
        raise CannotOpen(_creating(wanted, f"it needs the library {error.name}, which is not installed")) from None
    except (OSError, ValueError) as error:
        raise CannotOpen(_creating(wanted, error)) from None
    pipeline_log.info(f"Adding {wanted.type}/{version} {wanted.name} middleware")
    opened.middleware[wanted.name] = (wanted, one)


def _creating(wanted: component.Component, error: object) -> str:
    where = f" ({wanted.file})" if wanted.file else ""
    return f"error creating HTTP middleware {wanted.type}/{wanted.version}: {error}{where}"


def properties(wanted: component.Component, around: Surroundings) -> dict[str, str]:
    """The metadata of a component with what it refers to filled in. Raises `ValueError`."""
    owner = f"Component {wanted.name}"
    pairs = references.resolve(owner, wanted.metadata, around.environ)
    return {name: _filled(name, value, around) for name, value in pairs}


def _filled(name: str, value: str, around: Surroundings) -> str:
    if "{" not in value:
        return value
    while "{uuid}" in value:
        value = value.replace("{uuid}", str(uuid.uuid4()), 1)
    if "{podName}" in value:
        pod = around.environ.get("POD_NAME", "")
        if not pod:
            raise components.Wrong(
                f"failed to parse metadata: property {name} refers to {{podName}} but podName is not set"
            )
        value = value.replace("{podName}", pod)
    return value.replace("{namespace}", f"{around.namespace}.{around.app_id}").replace("{appID}", around.app_id)


class Pipeline:
    """The middleware of one pipeline, in order; called with the handler behind it, it gives the one before it."""

    def __init__(self, name: str, stations: list[Middleware]) -> None:
        self._name, self._stations = name, stations

    def __call__(self, handler: Handler) -> Handler:
        pipeline_log.info(f"Building pipeline {self._name}")
        for station in reversed(self._stations):
            handler = station.wrap(handler)
        return handler


def pipeline(name: str, wanted: Iterable[configuration.Handler], opened: Opened) -> Pipeline | None:
    """The pipeline that a Configuration describes; None when nothing is in it. Raises `CannotOpen`.

    A handler without any component of its name is left out, as in the original, which is how one Configuration
    serves apps with different components. One whose component is there, but broken or of another type, would be
    left out by the original too: here it is not, because it may be what keeps somebody out.
    """
    stations = []
    for handler in wanted:
        if handler.name in opened.broken:
            raise CannotOpen(f"pipeline {name}: middleware {handler.name} could not be opened, and is not passed over")
        if handler.name not in opened.middleware:
            pipeline_log.error(f"Pipeline {name} goes without {handler.log_name}: there is no such component")
            continue
        wanted_type = (handler.type, handler.version or "v1")
        found, station = opened.middleware[handler.name]
        if wanted_type != (found.type, found.version or "v1"):
            raise CannotOpen(f"pipeline {name}: {handler.log_name} is meant, but the component is {found.log_name}")
        stations.append(station)
    return Pipeline(name, stations) if stations else None
