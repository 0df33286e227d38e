"""Component resources in the order of what they depend on: a component whose secrets are in a store waits for it.

Called by `daprd.load`; opens each by `daprd.components`. What ends the start, what does not, and the words of the log
are the original's (v1.18.3, `pkg/runtime/processor/components.go`).
"""

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydapr.components import FIRST_VERSIONS
from pydapr.daprd import components, references
from pydapr.observe import logging
from pydapr.resources import component

if TYPE_CHECKING:
    from pydapr.daprd import reopening
    from pydapr.observe.metrics_service import ComponentMetrics

log = logging.get("dapr.runtime.processor")
authorizer_log = logging.get("dapr.runtime.authorizer")
secret_log = references.log


class Opening:
    """Opens components, and keeps those whose secret store is not open yet until it is."""

    def __init__(
        self,
        around: components.Surroundings,
        denied: Iterable[str],
        opened: components.Opened,
        stack: contextlib.AsyncExitStack,
        metrics: "ComponentMetrics | None" = None,
    ) -> None:
        self._around = around
        self._denied = frozenset(entry.lower() for entry in denied)
        self._opened = opened
        self._stack = stack
        self._metrics = metrics
        self._reopening: reopening.Reopening | None = None
        self._waiting: dict[str, list[tuple[component.Component, references.NotLoaded]]] = {}

    async def open_all(self, wanted: Iterable[component.Component]) -> None:
        """Raises `components.CannotOpen` for a component that cannot be had, unless it says to ignore errors."""
        for one in wanted:
            await self._open_with_dependents(one)
        if any(store.tells for store in self._opened.secret_stores.values()):
            await self._reopened().watch(self._stack)
        for waiting in self._waiting.values():
            for one, reason in waiting:
                self._opened.broken.add(one.name)
                log.error(f"Component {one.log_name} is not loaded. {reason}, but that store is not loaded")

    async def _open_with_dependents(self, wanted: component.Component) -> None:
        left = [wanted]
        while left:
            one = left.pop(0)
            if not one.name or self._is_denied(one):
                continue
            try:
                given = await self._resolve(one)
            except references.NotLoaded as reason:
                secret_log.warning(f"Component {one.name} references a secret store that isn't loaded: {reason.store}")
                self._waiting.setdefault(reason.store, []).append((one, reason))
                continue
            if await self._open(one, given) and one.category == "secretstores":
                left += [waiting for waiting, _ in self._waiting.pop(one.name, ())]

    async def _resolve(self, wanted: component.Component) -> references.Given:
        owner = references.Owner("Component", wanted.name, wanted.namespace, wanted.secret_store, wanted.file)
        refers = any(pair.secret_key_ref is not None for pair in wanted.metadata)
        stores = self._opened.secret_stores if refers else {}
        given = await references.resolve(owner, wanted.metadata, self._around.environ, stores)
        for fault in given.faults:
            secret_log.error(f"Error getting secret: {fault}")
        return given

    async def _open(self, wanted: component.Component, given: references.Given) -> bool:
        """Whether the component is open now."""
        log.debug(f"Loading component: {wanted.log_name}")
        try:
            if not wanted.category:
                raise components.CannotOpen(f"incorrect type {wanted.type}", "")
            await self._open_one(wanted, given)
        except components.CannotOpen as error:
            self._opened.broken.add(wanted.name)
            self._refuse(wanted, error)
            return False
        log.info(f"Component loaded: {wanted.log_name}")
        if self._metrics is not None:
            self._metrics.loaded()
            if wanted.category != "middleware":
                self._metrics.initialized(wanted.type)
        return True

    async def _open_one(self, wanted: component.Component, given: references.Given) -> None:
        if wanted.secret_store in self._opened.secret_stores:
            from pydapr.daprd import reopening

            if reopening.hangs_on(wanted, self._opened):
                await self._reopened().open(wanted, given, self._stack)
                return
        await components.open_one(wanted, given, self._around, self._opened, self._stack)

    def _reopened(self) -> "reopening.Reopening":
        if self._reopening is None:
            from pydapr.daprd import reopening

            self._reopening = reopening.Reopening(self._around, self._opened, self._resolve)
        return self._reopening

    def _count(self, wanted: component.Component, kind: str) -> None:
        if self._metrics is None:
            return
        if wanted.category != "middleware":
            reason = "creation" if kind == components.CREATE else "init"
            self._metrics.failed(wanted.type, wanted.name, reason)
        # As in the original, which counts it where it happens and once more where it is told.
        self._metrics.failed(wanted.type, wanted.name, "init")

    def _is_denied(self, wanted: component.Component) -> bool:
        """In any spelling in which the type would be found."""
        type_, version = wanted.type.lower(), wanted.version.lower()
        versions = FIRST_VERSIONS if version in FIRST_VERSIONS else (version,)
        if type_ not in self._denied and not any(f"{type_}/{one}" in self._denied for one in versions):
            return False
        what = f"components of type '{wanted.log_name}' are not allowed"
        authorizer_log.warning(f"component '{wanted.name}' cannot be loaded because {what}")
        self._opened.broken.add(wanted.name)
        return True

    def _refuse(self, wanted: component.Component, error: components.CannotOpen) -> None:
        """Raises `CannotOpen` in the words of the end, unless the component says to ignore errors."""
        text = str(error)
        if error.kind:
            self._count(wanted, error.kind)
            if error.kind != components.UNKNOWN:
                text = f"[{error.kind}]: initialization error occurred for {wanted.log_name}: {error}"
            log.error(f"Failed to init component {wanted.log_name}: {text}")
            text = f"[INIT_COMPONENT_FAILURE]: initialization error occurred for {wanted.log_name}: {text}"
        text = f"process component {wanted.name} error: {text}"
        if wanted.ignore_errors:
            log.error(f"Ignoring error processing component: {text}")
            return
        log.warning(f"Error processing component, daprd will exit gracefully: {text}")
        raise components.CannotOpen(text, "")
