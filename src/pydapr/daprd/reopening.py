"""Components that are opened again when a secret in their metadata has changed, while requests go on.

Used by `daprd.opening`. Of secret stores that can tell of changes (`SecretStore.tells`) those are kept here whose
resource has a secret of it: such a component stands behind a `components.swapping.Swap`. The new one opens beside the
old one, and takes its place when it is open; when it cannot be opened, the old one stays.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from pydapr.components import Part
from pydapr.components.secretstores import SecretStore
from pydapr.components.swapping import Swap
from pydapr.daprd import components, references
from pydapr.net import tasks
from pydapr.observe import logging
from pydapr.resources import component

if TYPE_CHECKING:
    from collections.abc import Coroutine

log = logging.get("dapr.runtime.processor")

REST_SECONDS = 60.0
"""How long what lasts may take to go over to another component, and calls of the one before until it is closed."""

Resolve = Callable[[component.Component], Awaitable[references.Given]]


class _Kept:
    """One component: what it was opened with, what stands before it, and what closes it."""

    def __init__(self, wanted: component.Component, given: references.Given, stack: contextlib.AsyncExitStack) -> None:
        self.wanted, self.given, self.stack = wanted, given, stack
        self.swap: Swap | None = None


def hangs_on(wanted: component.Component, opened: components.Opened) -> bool:
    """Whether a component has a secret of a store that can tell of changes."""
    if not any(pair.secret_key_ref is not None for pair in wanted.metadata):
        return False
    store = opened.secret_stores.get(wanted.secret_store)
    return store is not None and store.tells


class Reopening:
    """The components that may be replaced, and who watches the stores of their secrets."""

    def __init__(self, around: components.Surroundings, opened: components.Opened, resolve: Resolve) -> None:
        self._around, self._opened, self._resolve = around, opened, resolve
        self._kept: dict[str, _Kept] = {}
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed: dict[str, None] = {}
        self._wake = asyncio.Event()

    async def open(
        self, wanted: component.Component, given: references.Given, stack: contextlib.AsyncExitStack
    ) -> None:
        """Opens a component as `components.open_one` does, so that it can be replaced."""
        kept = _Kept(wanted, given, contextlib.AsyncExitStack())
        stack.push_async_callback(self._close, kept)

        def swappable(part: Part) -> Part:
            kept.swap = Swap(part)
            return kept.swap.face

        await components.open_one(wanted, given, self._around, self._opened, kept.stack, swappable)
        self._kept[wanted.name] = kept

    async def watch(self, stack: contextlib.AsyncExitStack) -> None:
        """Heeds the stores from now on, until the stack is closed."""
        telling = [name for name, store in self._opened.secret_stores.items() if store.tells]
        if not telling:
            return
        stack.push_async_callback(self._end)
        for name in telling:
            self._watch(name)
        if self._kept:
            self._begin(self._follow())

    # -- what is done when a store has changed --

    def _watch(self, name: str) -> None:
        store = self._opened.secret_stores[name]
        before = self._watching.pop(name, None)
        if before is not None:
            before.cancel()
        self._watching[name] = self._begin(store.watch(lambda: self._tell(name)))

    def _tell(self, name: str) -> None:
        self._changed[name] = None
        self._wake.set()

    async def _follow(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._changed:
                store = next(iter(self._changed))
                del self._changed[store]
                for kept in list(self._kept.values()):
                    if kept.wanted.secret_store != store:
                        continue
                    try:
                        await self._look_at(kept)
                    except Exception as fault:  # of a store that is anybody's, say: the next change is heeded
                        name = kept.wanted.log_name
                        log.error(f"Component {name} stays as it is: unexpected {type(fault).__name__}")

    async def _look_at(self, kept: _Kept) -> None:
        """Replaces a component if its secrets are others than those it was opened with."""
        wanted = kept.wanted
        try:
            given = await self._resolve(wanted)
        except references.NotLoaded as error:  # the store has been replaced by something else
            log.error(f"Component {wanted.log_name} stays as it is: {error}")
            return
        if given.pairs == kept.given.pairs:
            return
        if given.faults:
            log.error(f"Component {wanted.log_name} stays as it is: {'; '.join(given.faults)}")
            return
        stack, apart = contextlib.AsyncExitStack(), components.Opened()
        try:
            await components.open_one(wanted, given, self._around, apart, stack)
        except Exception as error:  # whatever it is, other components are looked at, and the next change is heeded
            reason = error if isinstance(error, components.CannotOpen) else given.scrub(repr(error))
            log.error(f"Component {wanted.log_name} stays as it is; a secret has changed, and with that: {reason}")
            self._begin(stack.aclose())
            return
        except BaseException:
            await stack.aclose()
            raise
        self._replace(kept, given, stack, apart)

    def _replace(
        self, kept: _Kept, given: references.Given, stack: contextlib.AsyncExitStack, apart: components.Opened
    ) -> None:
        name, swap = kept.wanted.name, kept.swap
        assert swap is not None
        old, kept.stack, kept.given = kept.stack, stack, given
        part = apart.parts[name][1]
        before = swap.put(part)
        if name in apart.state_stores:
            self._opened.state_stores[name].cipher = apart.state_stores[name].cipher
        store = kept.wanted.secret_store
        log.info(f"Component {kept.wanted.log_name} is opened again: a secret of {store} has changed")
        self._begin(self._retire(kept, swap, before, old))
        if isinstance(part, SecretStore):
            self._tell(name)
            if part.tells:
                self._watch(name)

    async def _retire(self, kept: _Kept, swap: Swap, before: Part, old: contextlib.AsyncExitStack) -> None:
        """Closes a component that was replaced when it has nothing more to do."""
        name = kept.wanted.log_name
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REST_SECONDS):
                    await swap.move()
            async with asyncio.timeout(REST_SECONDS):
                await swap.rest(before)
        except TimeoutError:
            log.warning(f"Calls of the replaced component {name} are broken off")
        finally:
            if swap.has_moved:
                await old.aclose()
            else:
                log.warning(f"The replaced component {name} goes on beside the new one, with what could not go over")
                kept.stack.push_async_callback(old.aclose)

    # -- tasks, and their end --

    def _begin(self, work: "Coroutine[None, None, None]") -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error(f"Unexpected end of the watch over secrets: {fault!r}")

    async def _end(self) -> None:
        await tasks.stop(self._tasks)

    async def _close(self, kept: _Kept) -> None:
        await kept.stack.aclose()
