"""What calls the app by itself, subscriptions and input bindings: begun, paused and ended together.

Used by `daprd.runtime`, which knows whether the app is there. The order is the original's (v1.18.3,
`pkg/runtime/runtime.go`, `appHealthChanged`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol


class Source(Protocol):
    """Something whose messages or events call the app. Neither method raises; the log tells what went wrong."""

    async def begin(self) -> None:
        """The app is there, or healthy again: let it have what comes. Nothing happens if that goes on already."""

    async def pause(self) -> None:
        """The app can take nothing more: what is under way ends, what follows waits where it comes from."""


class Triggers:
    """All sources, and whether the app can have what they have."""

    def __init__(self, sources: Sequence[Source], end_streams: Sequence[Callable[[], Awaitable[None]]] = ()) -> None:
        self._sources = sources
        self._end_streams = end_streams
        """What has messages go to clients of the API, who are there as long as the sidecar is."""
        self._is_over = False

    async def begin(self) -> None:
        """The app is there, or healthy again."""
        for source in self._sources:
            if not self._is_over:
                await source.begin()

    async def pause(self) -> None:
        """The app is unhealthy."""
        for source in self._sources:
            await source.pause()

    async def end(self) -> None:
        """The sidecar stops: nothing begins again."""
        self._is_over = True
        endings = [*(source.pause for source in self._sources), *self._end_streams]
        await asyncio.gather(*(end() for end in endings))
