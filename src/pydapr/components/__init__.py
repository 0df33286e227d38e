"""Components: what a resource names by its type, each in one file with its options declared once.

The type is the place: `middleware.http.routeralias` is `components/middleware/routeralias.py`, and `find` imports
that file when a resource names it. A file marks its options and its class:

    @options
    class Options:
        max_items: int = option("Refuse new keys beyond this many.", default=100_000)

    @component("state.in-memory", Options)
    class InMemory(StateStore): ...

`read` turns a resource's metadata into the options: names without regard to case (`maxItems` meets `max_items`),
values by the rules of Dapr's decoder (components-contrib and kit of v1.18: durations as Go writes them or in
seconds, everything but `y yes true t on 1` is false, lists by commas).
"""

import dataclasses
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NewType, TypeVar, dataclass_transform, get_type_hints

from pydapr.lib import durations

if TYPE_CHECKING:
    T = TypeVar("T")

KINDS = frozenset(
    {
        "bindings", "configuration", "conversation", "crypto", "lock", "middleware", "nameresolution", "pubsub",
        "secretstores", "state",
    }
)  # fmt: skip

Seconds = NewType("Seconds", float)
"""An option given as a Go duration (`1m30s`), or as a whole number of seconds."""

ALIASES = {"nameresolution.consul": "nameresolution.hashicorp.consul"}
"""Other names of types."""

_TYPE = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*\Z")
_TRUE = frozenset({"y", "yes", "true", "t", "on", "1"})
_REQUIRED: Any = dataclasses.MISSING


class Wrong(ValueError):
    """The metadata of a component cannot be used; the message names the key."""


def option(
    description: str,
    *,
    default: Any = _REQUIRED,
    default_factory: Callable[[], Any] | None = None,
    aliases: Sequence[str] = (),
    takes_rest: bool = False,
) -> Any:
    """A field of a component's options. Without a default it must be given, and not be empty.

    `aliases` are older names; one field that `takes_rest`, a mapping, gets all keys that no other field has.
    """
    about = {"description": description, "aliases": tuple(aliases), "takes_rest": takes_rest}
    if default_factory is not None:
        return dataclasses.field(default_factory=default_factory, metadata=about)
    return dataclasses.field(default=default, metadata=about)


@dataclass_transform(field_specifiers=(option,), frozen_default=True, kw_only_default=True)
def options(cls: "type[T]") -> "type[T]":
    """Marks the class that holds a component's options."""
    return dataclasses.dataclass(frozen=True, slots=True, kw_only=True)(cls)


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """A component's class and its options, by the type that a resource names."""

    name: str
    make: Callable[..., Any]
    options: Callable[..., Any]


_found: dict[str, Found] = {}


def component(type_: str, options_: type[Any]) -> "Callable[[type[T]], type[T]]":
    """Marks a component: its constructor takes `options_`, filled in from the metadata."""

    def mark(cls: "type[T]") -> "type[T]":
        _found[type_] = Found(type_, cls, options_)
        return cls

    return mark


def place(type_: str) -> str:
    """The module in which a type lives, "" when it can be none."""
    kind, _, name = type_.lower().partition(".")
    if kind == "middleware":
        name = name.removeprefix("http.")
    if kind not in KINDS or not _TYPE.match(name):
        return ""
    return f"pydapr.components.{kind}.{re.sub('[.-]', '_', name)}"


def find(type_: str) -> Found | None:
    """The component of a type; None when there is none."""
    type_ = ALIASES.get(type_.lower(), type_)
    found = _found.get(type_.lower())
    module = place(type_)
    if found is not None or not module:
        return found
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        return None
    return _found.get(type_.lower())


# -- options --


def read(wanted: "Callable[..., T]", metadata: Mapping[str, Any]) -> "T":
    """The options in the metadata of a resource. Raises `Wrong`."""
    given: dict[str, str] = {}
    for name in metadata:
        if name.lower() in given:
            raise Wrong(f"key {name.lower()} is duplicate in the metadata")
        given[name.lower()] = name
    hints = get_type_hints(wanted)
    values: dict[str, Any] = {}
    known: set[str] = set()
    for field in dataclasses.fields(wanted):  # type: ignore[arg-type]
        names = [_plain(field.name), *(alias.lower() for alias in field.metadata["aliases"])]
        known.update(names)
        key = next((given[name] for name in names if name in given), None)
        if key is not None and not field.metadata["takes_rest"]:
            values[field.name] = convert(hints[field.name], metadata[key], key)
        if field.default is _REQUIRED and not field.metadata["takes_rest"] and not values.get(field.name):
            raise Wrong(f"metadata property {_camel(field.name)} is required")
    for field in dataclasses.fields(wanted):  # type: ignore[arg-type]
        if field.metadata["takes_rest"]:
            values[field.name] = {name: metadata[name] for lower, name in given.items() if lower not in known}
    return wanted(**values)


def convert(wanted: Any, text: Any, key: str) -> Any:
    """`text` as a value of the type `wanted`. Raises `Wrong`, which names `key`.

    Metadata is text; a Configuration may also hold other scalars, and what an option of type `object` takes as it is.
    """
    if wanted is object:
        return text
    if text is None:
        text = ""
    elif isinstance(text, bool):
        text = "true" if text else "false"
    elif isinstance(text, int | float):
        text = str(text)
    elif not isinstance(text, str):
        raise Wrong(f"metadata property {key}: a text is wanted")
    if wanted in (str, str | None):
        return text
    if wanted in (bool, bool | None):
        return text.strip().lower() in _TRUE
    if wanted == tuple[str, ...]:
        return tuple(text.split(","))
    try:
        if wanted in (Seconds, Seconds | None):
            return Seconds(_seconds(text))
        if wanted in (int, int | None):
            return int(text, 0) if text else 0
        if wanted in (float, float | None):
            return float(text) if text else 0.0
    except ValueError:
        what = "duration" if wanted in (Seconds, Seconds | None) else "number"
        raise Wrong(f"metadata property {key}: {text!r} is no {what}") from None
    raise TypeError(f"no rule for options of type {wanted}")


def _seconds(text: str) -> float:
    if not text:
        return 0.0
    try:
        return durations.parse(text)
    except ValueError:
        return float(int(text))


def _plain(name: str) -> str:
    return name.replace("_", "")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.upper() if part in ("id", "url", "https") else part.capitalize() for part in rest)
