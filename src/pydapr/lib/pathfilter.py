"""Which requests an expression for paths means. Pure; used by middleware that guards some paths and not others."""

import posixpath

from pydapr.lib import re2_linear, urls


class PathFilter:
    """Matches when there is no expression, or when it fits the path, decoded, as it came or cleaned.

    Both forms count: `//a` and `/b/../a` lead to the same handler as `/a`, and must not lead around a guard.
    Raises `ValueError` for an expression that is none.
    """

    def __init__(self, expression: str) -> None:
        self._fits = re2_linear.searcher(expression) if expression else None

    def matches(self, target: bytes) -> bool:
        """`target` is path and query as they came."""
        if self._fits is None:
            return True
        path = target.partition(b"?")[0]
        try:
            text = urls.decode(path)
        except ValueError:
            return True
        cleaned = posixpath.normpath("/" + text.lstrip("/"))
        return self._fits(text) or self._fits(cleaned)
