"""Results that are kept for the next time."""

import functools
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

SHORT = 256
"""Letters of a text whose result is kept. Peers choose the texts, which may be megabytes long; names are not."""


def of_short(most: int) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """The decorated function of a text, which remembers the last `most` results, but none of a long text."""

    def remembering(function: Callable[[str], T]) -> Callable[[str], T]:
        kept = functools.lru_cache(most)(function)

        @functools.wraps(function)
        def remembered(text: str) -> T:
            return kept(text) if len(text) <= SHORT else function(text)

        return remembered

    return remembering
