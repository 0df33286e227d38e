"""A component behind which another one can take its place, without a request being lost by it.

Made by `daprd.reopening`. Blocks have the `face`, which is of the same kinds as the component: each call goes to the
component that is in place when it begins, and one that was replaced is done with when its last call has ended. What
lasts (subscriptions, readings) is begun with the new component before it is ended with the old one: a message may
come twice by that, and none is missed.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from pydapr.components import Part
from pydapr.components.bindings import InputBinding, Reading
from pydapr.components.configuration import ConfigurationStore
from pydapr.components.middleware import Middleware
from pydapr.components.pubsub import PubSub, Subscription
from pydapr.net.exchange import Exchange, Handler
from pydapr.observe import logging

log = logging.get("dapr.runtime.processor")

_PACKAGE = "pydapr.components"


class _Mover(Protocol):
    """Something that lasts, with `part`."""

    part: Any

    async def move(self, new: Any) -> None:
        """Goes over to a component. Raises what that raises, and stays where it was then."""


class Swap:
    """The component that is in place, and what is under way with it and with those before it."""

    def __init__(self, part: Part) -> None:
        self.current = part
        self.movers: dict[_Mover, None] = {}
        self._calls: dict[Part, int] = {}
        self._idle: dict[Part, asyncio.Event] = {}
        self.face = _face_of(type(part))(self)

    async def call(self, name: str, given: Any, named: Any) -> Any:
        """Calls a method of the component that is in place."""
        part = self.current
        self.begun(part)
        try:
            return await getattr(part, name)(*given, **named)
        finally:
            self.ended(part)

    def begun(self, part: Part) -> None:
        """Something is under way with a component; `ended` follows."""
        self._calls[part] = self._calls.get(part, 0) + 1

    def ended(self, part: Part) -> None:
        """It is not any more."""
        self._calls[part] -= 1
        if not self._calls[part]:
            del self._calls[part]
            if part in self._idle:
                self._idle[part].set()

    def put(self, new: Part) -> Part:
        """Puts `new`, which is open, in place; the one before. `move` follows, and `rest` with that one."""
        old, self.current = self.current, new
        return old

    async def move(self) -> None:
        """Brings what lasts to the component in place, all at a time; `has_moved` tells whether it went."""
        await asyncio.gather(*[self._move(mover) for mover in list(self.movers)])

    async def _move(self, mover: _Mover) -> None:
        try:
            await mover.move(self.current)
        except Exception as error:  # whatever the contract of the kind lets it raise
            log.error(f"What goes on with a component cannot go over to the one that replaces it: {error}")

    @property
    def has_moved(self) -> bool:
        """Whether nothing lasts with a component that is not in place any more."""
        return all(mover.part is self.current for mover in self.movers)

    async def rest(self, old: Part) -> None:
        """Returns when no call of one that was replaced is under way."""
        if old not in self._calls:
            return
        idle = self._idle[old] = asyncio.Event()
        try:
            await idle.wait()
        finally:
            del self._idle[old]


class _Face:
    """What all faces have in common; the rest is forwarded (`_face_of`)."""

    def __init__(self, swap: Swap) -> None:
        self.swap = swap

    async def close(self) -> None:
        """Nothing: who has opened the component closes it."""


class _Lasting:
    """A subscription, or what a binding reads. `begin` makes it with a component."""

    def __init__(self, swap: Swap, begin: Callable[[Any], Awaitable[Any]]) -> None:
        self._swap, self._begin = swap, begin
        self._inner: Any = None
        self.part: Any = None
        self._turn = asyncio.Lock()

    async def start(self) -> "_Lasting":
        async with self._turn:
            self._swap.movers[self] = None  # before: whoever replaces the component meanwhile has it moved
            try:
                self.part = self._swap.current
                self._inner = await self._begin(self.part)
            except BaseException:
                del self._swap.movers[self]
                raise
        return self

    async def move(self, new: Any) -> None:
        async with self._turn:
            if self not in self._swap.movers or new is self.part:
                return
            begun = await self._begin(new)
            old, self._inner, self.part = self._inner, begun, new
            await old.close()

    async def close(self) -> None:
        self._swap.movers.pop(self, None)
        async with self._turn:
            await self._inner.close()


class _LastingSubscription(_Lasting, Subscription):
    """Messages of a topic."""


class _LastingReading(_Lasting, Reading):
    """Events of a binding."""


class _PubSubFace(_Face):
    async def subscribe(self, topic: Any, metadata: Any, handler: Any) -> Any:
        return await _LastingSubscription(self.swap, lambda part: part.subscribe(topic, metadata, handler)).start()

    async def subscribe_many(self, topic: Any, metadata: Any, limits: Any, handler: Any) -> Any:
        def begin(part: Any) -> Awaitable[Any]:
            subscription: Awaitable[Any] = part.subscribe_many(topic, metadata, limits, handler)
            return subscription

        return await _LastingSubscription(self.swap, begin).start()


class _InputFace(_Face):
    async def read(self, handler: Any) -> Any:
        return await _LastingReading(self.swap, lambda part: part.read(handler)).start()


class _Watched:
    """One subscription of a configuration store, under the id that it had first."""

    def __init__(self, swap: Swap, keys: Any, metadata: Any, handler: Any) -> None:
        self._given = keys, metadata
        self._swap, self._handler = swap, handler
        self.id = self._now = ""
        self.part: Any = None
        self._turn = asyncio.Lock()

    async def start(self) -> str:
        async with self._turn:
            self._swap.movers[self] = None
            try:
                self.part = self._swap.current
                self.id = self._now = await self.part.subscribe(*self._given, self._told)
            except BaseException:
                del self._swap.movers[self]
                raise
        return self.id

    async def move(self, new: Any) -> None:
        async with self._turn:
            if self not in self._swap.movers or new is self.part:
                return
            id_ = await new.subscribe(*self._given, self._told)
            part, before = self.part, self._now
            self.part, self._now = new, id_
        # Not within: it waits for the handler, which may end the subscription.
        await part.unsubscribe(before)

    async def end(self) -> None:
        del self._swap.movers[self]
        async with self._turn:
            await self.part.unsubscribe(self._now)

    async def _told(self, id_: str, items: Any) -> None:
        await self._handler(self.id or id_, items)


class _ConfigurationFace(_Face):
    async def subscribe(self, keys: Any, metadata: Any, handler: Any) -> str:
        return await _Watched(self.swap, keys, metadata, handler).start()

    async def unsubscribe(self, subscription: str) -> None:
        for one in list(self.swap.movers):
            if isinstance(one, _Watched) and one.id == subscription:
                await one.end()
                return
        await self.swap.call("unsubscribe", (subscription,), {})


class _MiddlewareFace(_Face):
    def wrap(self, inner: Handler) -> Handler:
        handlers: dict[Part, Handler] = {}

        async def handle(exchange: Exchange) -> None:
            part: Any = self.swap.current
            if part not in handlers:
                handlers.clear()  # what is under way has its own by now
                handlers[part] = part.wrap(inner)
            handler = handlers[part]
            self.swap.begun(part)
            try:
                await handler(exchange)
            finally:
                self.swap.ended(part)

        return handle


_SPECIAL: tuple[tuple[type[Part], type[_Face]], ...] = (
    (PubSub, _PubSubFace),
    (InputBinding, _InputFace),
    (ConfigurationStore, _ConfigurationFace),
    (Middleware, _MiddlewareFace),
)


def _face_of(part: type[Part]) -> Callable[[Swap], Part]:
    """The class of faces of a component: all the contracts it keeps, each method forwarded."""
    contracts = [cls for cls in part.__mro__ if issubclass(cls, Part) and cls is not Part and _is_contract(cls)]
    special = [face for contract, face in _SPECIAL if contract in contracts] or [_Face]
    own = {name for face in special for cls in face.__mro__ if cls is not object for name in vars(cls)}
    body: dict[str, Any] = {}
    for contract in (*contracts, Part):
        for name in (*vars(contract), *getattr(contract, "__annotations__", ())):
            if not name.startswith("_") and name not in own and name not in body:
                body[name] = _forwarded(name, vars(contract).get(name))
    made: Any = type(f"Swappable{part.__name__}", (*special, *contracts), body)
    return made  # type: ignore[no-any-return]


def _is_contract(cls: type) -> bool:
    """Whether a class stands in the package of a kind, and not in a component's file."""
    return cls.__module__.startswith(f"{_PACKAGE}.") and cls.__module__.count(".") == _PACKAGE.count(".") + 1


def _forwarded(name: str, value: Any) -> Any:
    if inspect.iscoroutinefunction(value):

        async def call(self: _Face, *given: Any, **named: Any) -> Any:
            return await self.swap.call(name, given, named)

        return call
    return property(lambda self: getattr(self.swap.current, name))
