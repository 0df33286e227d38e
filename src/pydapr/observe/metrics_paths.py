"""What stands in the `path` label of HTTP metrics. Pure; called by `observe.metrics_http` once per path.

Three ways, as a Configuration wants them (v1.18.3, `pkg/diagnostics/http_monitoring*.go`): paths with what varies in
Dapr's own API taken out (increased cardinality), patterns given by the user, or nothing. Patterns are those of Go's
ServeMux: `{name}` is a segment, `{name...}` the rest, `{$}` the end, and a slash at the end stands for all below it.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

STATIC = frozenset({"/dapr/config", "/dapr/metrics", "/dapr/subscribe", "/healthz"})
"""Paths of an app that are always shown."""

_INVOKE = "/v1.0/invoke/"
_SLASHES = re.compile("//+")
_NAME = re.compile(r"[^\W\d]\w*\Z")


class BadPattern(ValueError):
    """A pattern cannot be used; the message says why."""


class Labels:
    """From a path to its label. Raises `BadPattern`."""

    def __init__(self, is_increased: bool, patterns: Iterable[str]) -> None:
        self.is_increased = is_increased
        self._patterns = _Patterns(patterns, is_increased) if (patterns := list(patterns)) else None

    def of_request(self, path: str) -> str:
        """The label of a request to the API."""
        if self._patterns is not None:
            return self.of(normalize(path))
        return self.of(shortened(path)) if self.is_increased else ""

    def of_call(self, path: str) -> str:
        """The label of a call to the app."""
        found = self.of(path)
        return shortened(found) if self.is_increased or self._patterns is not None else found

    def of(self, path: str) -> str:
        if path in STATIC:
            return path
        if self._patterns is not None:
            matched = self._patterns.match(path)
            if matched and not (self.is_increased and matched == path):
                return matched
            general = shortened(path)
            if general != path:
                matched = self._patterns.match(general)
                if matched not in ("", "/"):
                    return matched
        return shortened(path) if self.is_increased else ""


def normalize(path: str) -> str:
    """With one slash where there are several, and one in front."""
    path = _SLASHES.sub("/", path)
    return path if path.startswith("/") else "/" + path


def shortened(path: str) -> str:
    """The path without keys and ids where Dapr's API has them; other paths stay as they are."""
    if not path:
        return path
    path = normalize(path)
    parts = path[1:].split("/", 5)
    if len(parts) < 3:
        return path
    if parts[0] == "actors":
        parts[2] = "{id}"
        return "/".join(parts)
    kind = parts[1]
    if kind in ("state", "secrets"):
        return "/" + "/".join(parts[:3])
    if kind == "actors" and len(parts) >= 5:
        return "/" + "/".join([*parts[:3], "{id}", parts[4]])
    if kind == "workflows" and len(parts) >= 4:
        return _workflow(parts)
    return path


def _workflow(parts: list[str]) -> str:
    """The name of a workflow is kept, an instance's id and an event's name are not."""
    if len(parts) == 5 and parts[4].startswith("start"):
        return "/" + "/".join([*parts[:4], "start"])
    kept = [*parts[:3], "{instanceId}", *parts[4:5]]
    if len(parts) == 6 and parts[4] == "raiseEvent" and parts[5]:
        kept.append("{eventName}")
    return "/" + "/".join(kept)


class _Node:
    """A place in the tree of patterns, whose branches are segments."""

    __slots__ = ("below", "literal", "pattern", "segment")

    def __init__(self) -> None:
        self.literal: dict[str, _Node] = {}
        self.segment: _Node | None = None
        self.pattern = ""
        """The pattern that ends here."""
        self.below = ""
        """The pattern that stands for all that follows."""

    def find(self, parts: list[str], at: int) -> str:
        """The pattern for what follows from `at`, the most special one first."""
        if at == len(parts):
            return self.pattern
        node = self.literal.get(parts[at])
        found = node.find(parts, at + 1) if node is not None else ""
        if not found and self.segment is not None and parts[at]:
            found = self.segment.find(parts, at + 1)
        return found or self.below


class _Patterns:
    """Patterns, and the same ones behind the invocation of any app.

    With increased cardinality a path that none of them is for shows as it is.
    """

    def __init__(self, patterns: Iterable[str], is_increased: bool) -> None:
        wanted = set[str]()
        for pattern in map(normalize, patterns):
            wanted.add(pattern)
            if not pattern.startswith(_INVOKE):
                wanted.add(f"{_INVOKE}{{app_id}}/method{pattern}")
        self._shows_raw = is_increased and "/" not in wanted
        self._root = _Node()
        for pattern in sorted(wanted):
            self._add(pattern)

    def _add(self, pattern: str) -> None:
        node = self._root
        parts = pattern[1:].split("/")
        for number, part in enumerate(parts):
            is_last = number == len(parts) - 1
            if part.startswith("{") and part.endswith("}"):
                name = part[1:-1]
                if is_last and name == "$":
                    part = ""
                elif is_last and name.endswith("..."):
                    _check(name.removesuffix("..."), pattern)
                    node.below = node.below or pattern
                    return
                else:
                    _check(name, pattern)
                    node.segment = node = node.segment or _Node()
                    continue
            elif "{" in part or "}" in part:
                raise BadPattern(f"{pattern}: a wildcard must be a whole segment")
            elif is_last and not part:
                node.below = node.below or pattern
                return
            node = node.literal.setdefault(part, _Node())
        node.pattern = node.pattern or pattern

    def match(self, path: str) -> str:
        """The pattern for a path, "" for none."""
        if not path:
            return ""
        path = normalize(path)
        parts = _cleaned(path)[1:].split("/")
        found = self._root.find(parts, 0)
        if parts[-1] and (not found or _is_open(found)):
            # A path that is only there with a slash behind it: ServeMux would send its reader there.
            exact = self._root.find([*parts, ""], 0)
            if exact and (not _is_open(exact) or exact.count("/") == len(parts) + 1):
                return exact
        if not found and self._shows_raw:
            return path
        return found


def _is_open(pattern: str) -> bool:
    """Whether a pattern stands for all that begins with it."""
    return pattern.endswith(("/", "...}"))


def _check(name: str, pattern: str) -> None:
    if not _NAME.match(name):
        raise BadPattern(f"{pattern}: {{{name}}} is no wildcard")


def _cleaned(path: str) -> str:
    """Without `.` and `..`, as Go's ServeMux looks at it."""
    out: list[str] = []
    parts = path[1:].split("/")
    for part in parts:
        if part == "..":
            del out[-1:]
        elif part not in ("", "."):
            out.append(part)
    end = "/" if not parts[-1] and out else ""
    return "/" + "/".join(out) + end
