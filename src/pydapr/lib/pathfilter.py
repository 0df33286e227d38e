"""Which requests an expression for paths means. Pure; used by middleware that guards some paths and not others."""

import posixpath

from pydapr.lib import re2, urls


class PathFilter:
    """Matches when there is no expression, or when it fits the path, decoded, as it came or cleaned.

    Both forms count: `//a` and `/b/../a` lead to the same handler as `/a`, and must not lead around a guard.
    Raises `ValueError` for an expression that is none.
    """

    def __init__(self, expression: str) -> None:
        self._rule = re2.compile(expression) if expression else None

    def matches(self, target: bytes) -> bool:
        """`target` is path and query as they came."""
        if self._rule is None:
            return True
        path = target.partition(b"?")[0]
        try:
            text = urls.decode(path)
        except ValueError:
            return True
        cleaned = posixpath.normpath("/" + text.lstrip("/"))
        return self._rule.search(text) is not None or self._rule.search(cleaned) is not None
