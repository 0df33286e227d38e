"""From one Component resource to an open component, and from middleware to pipelines.

Called by `daprd.opening` and, for pipelines, by `daprd.load`; the words of errors are the original's. No value that
came from a secret store or the environment is in them.
"""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydapr import components
from pydapr.blocks import lock
from pydapr.components import Part
from pydapr.components.lock import LockStore
from pydapr.components.middleware import Middleware
from pydapr.components.pubsub import PubSub
from pydapr.components.secretstores import SecretStore
from pydapr.components.state import StateStore
from pydapr.daprd import references
from pydapr.lib import truth
from pydapr.lib.record import Record
from pydapr.net.exchange import Handler
from pydapr.observe import logging
from pydapr.resources import component, configuration

if TYPE_CHECKING:
    from pydapr.blocks.pubsub import Broker
    from pydapr.blocks.pubsub.outbox import Wanted
    from pydapr.blocks.state import Store
    from pydapr.daprd import bindings

log = logging.get("dapr.runtime.processor")
runtime_log = logging.get("dapr.runtime")
pipeline_log = logging.get("dapr.middleware.http")
state_log = logging.get("dapr.runtime.processor.state")
binding_log = logging.get("dapr.runtime.processor.binding")

WASM = frozenset({"middleware.http.wasm", "bindings.wasm"})
"""Types that run WebAssembly."""

CREATE, INIT = "CREATE_COMPONENT_FAILURE", "INIT_COMPONENT_FAILURE"
"""What the original calls it when a component cannot be made, and when it is made but cannot be opened."""

UNKNOWN = "UNKNOWN"
"""The type of a binding is unknown, which the original does not call anything."""

_KINDS = {
    "state": "state store",
    "pubsub": "message bus",
    "bindings": "binding",
    "secretstores": "secret store",
    "configuration": "configuration store",
    "lock": "lock store",
    "crypto": "crypto provider",
    "conversation": "conversation",
}
"""What the original calls a component of a category when it cannot find its type."""


class CannotOpen(Exception):
    """A component cannot be used; the message is the reason, `kind` one of those above or empty."""

    def __init__(self, message: str, kind: str = CREATE) -> None:
        super().__init__(message)
        self.kind = kind


class Surroundings(Record):
    """What metadata may refer to."""

    app_id: str
    namespace: str
    environ: Mapping[str, str]
    strict_sandbox: bool = False
    """Whether the Configuration has WebAssembly run in the strict sandbox, whatever a component says."""
    with_actors: bool = False
    """Whether there are actors, so that one of the state stores may be theirs."""


class Opened:
    """The components that are open, by name."""

    def __init__(self) -> None:
        self.parts: dict[str, tuple[component.Component, Part]] = {}
        self.broken: set[str] = set()
        """Names of those that are described, but are not open."""

        self.state_stores: dict[str, Store] = {}
        self.actor_store = ""
        """The name of the one that keeps the state of actors, empty without any."""
        self.lock_stores: dict[str, lock.Store] = {}
        self.brokers: dict[str, Broker] = {}
        self.outboxes: dict[str, Wanted] = {}
        """Those of state stores, by the store."""
        self.bindings: dict[str, bindings.Plan] = {}

    @property
    def secret_stores(self) -> dict[str, SecretStore]:
        return {name: part for name, (_, part) in self.parts.items() if isinstance(part, SecretStore)}

    def listed(self) -> list[dict[str, Any]]:
        """As the metadata API shows them."""
        return [self._entry(wanted, part) for wanted, part in self.parts.values()]

    def _entry(self, wanted: component.Component, part: Part) -> dict[str, Any]:
        plan = self.bindings.get(wanted.name)
        return _entry(wanted, plan.capabilities if plan is not None else part.capabilities)


def _entry(wanted: component.Component, capabilities: Sequence[str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": wanted.name, "type": wanted.type}
    if wanted.version:
        entry["version"] = wanted.version
    if capabilities:
        entry["capabilities"] = list(capabilities)
    return entry


async def open_one(
    wanted: component.Component,
    given: references.Given,
    around: Surroundings,
    opened: Opened,
    stack: contextlib.AsyncExitStack,
    around_part: Callable[[Part], Part] | None = None,
) -> None:
    """Opens one component, whose references have led to `given`. Raises `CannotOpen`.

    What is made of it by `around_part`, of the same kinds, is what others have of it.
    """
    found = await _find(wanted, around)
    deadline = asyncio.timeout(wanted.init_timeout_seconds)
    try:
        properties = _properties(wanted, given, around)
        use = _use_of_state(wanted, properties, around) if wanted.category == "state" else None
        prefix = _prefix_of_locks(wanted, properties, around) if wanted.category == "lock" else ""
        join = None
        if wanted.category == "pubsub":
            from pydapr.daprd import pubsub

            properties = pubsub.with_consumer(properties, around.app_id)
            join = pubsub.plan(wanted, properties, around.app_id, around.namespace)
        part = found.make(components.read(found.options, properties, given.hidden))
        assert isinstance(part, Part)
        part.scrub = given.scrub
        stack.push_async_callback(_close, wanted, part)
        async with deadline:
            await part.open()
    except ModuleNotFoundError as error:
        raise _failed(wanted, f"it needs the library {error.name}, which is not installed") from None
    except (OSError, ValueError) as error:
        if isinstance(error, TimeoutError) and deadline.expired():
            raise CannotOpen(f"init timeout for component {wanted.log_name}", INIT) from None
        raise _failed(wanted, given.scrub(str(error))) from None
    except Exception as error:  # a component may be anybody's, and use any library
        raise _failed(wanted, given.scrub(_unexpected(error, found))) from None
    if around_part is not None:
        part = around_part(part)
    if isinstance(part, Middleware):
        pipeline_log.info(f"Adding {wanted.type}/{wanted.version or 'v1'} {wanted.name} middleware")
    if use is not None and isinstance(part, StateStore):
        if around.with_actors:
            _give_to_actors(wanted, properties, opened)
        _keep_state(wanted, properties, opened, use(part))
    if isinstance(part, LockStore):
        opened.lock_stores[wanted.name] = lock.Store(part, prefix)
    if join is not None and isinstance(part, PubSub):
        opened.brokers[wanted.name] = join(part)
    if wanted.category == "bindings":
        from pydapr.daprd import bindings

        opened.bindings[wanted.name] = plan = bindings.plan(wanted.name, properties, part)
        for direction in plan.directions:
            binding_log.info(f"successful init for {direction} binding ({wanted.log_name})")
    opened.parts[wanted.name] = (wanted, part)


async def _find(wanted: component.Component, around: Surroundings) -> components.Found:
    """The component of the resource's type. Raises `CannotOpen`."""
    from pydapr.daprd import finding

    try:
        found = await finding.find(wanted, around.environ)
    except ModuleNotFoundError as error:
        raise _failed(wanted, f"it needs the library {error.name}, which is not installed") from None
    except (OSError, ValueError) as error:
        raise _failed(wanted, str(error)) from None
    if found is None:
        raise CannotOpen(_unknown(wanted), UNKNOWN if wanted.category == "bindings" else CREATE)
    return found


def _use_of_state(
    wanted: component.Component, properties: Mapping[str, str], around: Surroundings
) -> "Callable[[StateStore], Store]":
    from pydapr.daprd import state

    try:
        return state.plan(wanted, properties, around.app_id, around.environ.get("NAMESPACE", ""))
    except state.Refused as error:
        where = f" ({wanted.file})" if wanted.file else ""
        raise CannotOpen(f"{error}{where}") from None


def _keep_state(wanted: component.Component, properties: Mapping[str, str], opened: Opened, store: "Store") -> None:
    opened.state_stores[wanted.name] = store
    if "outboxPublishPubsub" in properties:
        from pydapr.daprd import outbox

        if (events := outbox.read(properties)) is not None:
            opened.outboxes[wanted.name] = events


def _give_to_actors(wanted: component.Component, properties: Mapping[str, str], opened: Opened) -> None:
    """Has a store keep the state of actors if its metadata say so. Raises `CannotOpen`."""
    said = next((value for name, value in properties.items() if name.lower() == "actorstatestore"), "")
    if not truth.is_true(said):
        return
    if opened.actor_store not in ("", wanted.name):
        raise _failed(wanted, f"detected duplicate actor state store: {opened.actor_store} and {wanted.name}")
    opened.actor_store = wanted.name
    state_log.info(f"Using '{wanted.name}' as actor state store")


def _prefix_of_locks(wanted: component.Component, properties: Mapping[str, str], around: Surroundings) -> str:
    strategy = next((value for name, value in properties.items() if name.lower() == "keyprefix"), None)
    try:
        return lock.prefix(strategy, wanted.name, around.app_id)
    except lock.Illegal as error:
        raise _failed(wanted, f"failed to save lock keyprefix: {error}") from None


def _unknown(wanted: component.Component) -> str:
    type_ = f"{wanted.type}/{wanted.version or 'v1'}"
    if wanted.category == "middleware":
        missing = f"HTTP middleware {type_} has not been registered"
        return f"process component {wanted.name} error: {missing}"
    from pydapr.daprd import unbuilt

    built = [found.name for found in components.available(wanted.category)]
    reason = unbuilt.reason(wanted.type, wanted.version, built)
    what = wanted.log_name if wanted.category == "bindings" else type_
    return f"couldn't find {_KINDS[wanted.category]} {what}; {reason}"


def _failed(wanted: component.Component, reason: str) -> CannotOpen:
    where = f" ({wanted.file})" if wanted.file else ""
    if wanted.category != "middleware":
        return CannotOpen(f"{reason}{where}", INIT)
    type_ = f"{wanted.type}/{wanted.version}"
    return CannotOpen(f"process component {wanted.name} error: error creating HTTP middleware {type_}: {reason}{where}")


async def _close(wanted: component.Component, part: Part) -> None:
    """Closes a component, whatever it raises: others are closed after it. One that hangs is the last that is named."""
    runtime_log.info(f"Shutting down component {wanted.log_name}")
    try:
        await part.close()
    except Exception as error:
        log.error(f"Component {wanted.log_name} could not be closed: {part.scrub(repr(error))}")


def _unexpected(error: Exception, found: components.Found) -> str:
    """A fault that no contract has, and where: in the component's own file, if that had part in it."""
    import traceback  # only for faults: it costs a start 3 ms

    frames = traceback.extract_tb(error.__traceback__)
    file = getattr(sys.modules.get(found.make.__module__), "__file__", None)
    place = next((frame for frame in reversed(frames) if frame.filename == file), frames[-1])
    return f"unexpected {error!r} ({place.filename}, line {place.lineno})"


def _properties(wanted: component.Component, given: references.Given, around: Surroundings) -> dict[str, str]:
    """The metadata as the component gets it. Raises `Wrong`."""
    found = {name: _filled(name, value, around) for name, value in given.pairs}
    if around.strict_sandbox and wanted.type in WASM:
        found = {name: value for name, value in found.items() if name.lower() != "strictsandbox"}
        found["strictSandbox"] = "true"
    return found


def _filled(name: str, value: str, around: Surroundings) -> str:
    if "{" not in value:
        return value
    while "{uuid}" in value:
        import uuid  # few refer to it, and it costs 4 ms

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
        if handler.name not in opened.parts:
            pipeline_log.error(f"Pipeline {name} goes without {handler.log_name}: there is no such component")
            continue
        wanted_type = (handler.type, handler.version or "v1")
        found, station = opened.parts[handler.name]
        if not isinstance(station, Middleware) or wanted_type != (found.type, found.version or "v1"):
            raise CannotOpen(f"pipeline {name}: {handler.log_name} is meant, but the component is {found.log_name}")
        stations.append(station)
    return Pipeline(name, stations) if stations else None
