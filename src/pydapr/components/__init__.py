"""Components: what a resource names by its type, each in one file with its options declared once.

The type is the place: `middleware.http.routeralias` is `components/middleware/routeralias.py`, and `find` imports
that file when a resource names it. A file marks its options and its class:

    @options
    class Options:
        max_items: int = option("Refuse new keys beyond this many.", default=100_000)

    @component("state.in-memory", Options)
    class InMemory(StateStore): ...

A further version of a type has a file of its own: `component("state.postgresql/v2", Options)` stands in
`components/state/postgresql_v2.py`. The contract of a kind, in the `__init__` of its folder, builds on `Part`;
`daprd.opening` opens what resources name, blocks know contracts only.

`read` turns a resource's metadata into the options: names without regard to case (`maxItems` meets `max_items`),
values by the rules of Dapr's decoder (components-contrib and kit of v1.18: durations as Go writes them or in
seconds, everything but `y yes true t on 1` is false, lists by commas).
"""

import dataclasses
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NewType, TypeVar, dataclass_transform, get_type_hints

from pydapr.lib import durations, truth
from pydapr.lib.record import Record

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

ALIASES = {
    "bindings.postgresql": "bindings.postgres",
    "bindings.mqtt": "bindings.mqtt3",
    "pubsub.mqtt": "pubsub.mqtt3",
    "configuration.postgres": "configuration.postgresql",
    "nameresolution.consul": "nameresolution.hashicorp.consul",
    "state.postgres": "state.postgresql",
    "state.cockroachdb/v2": "state.postgresql/v2",
    "state.yugabyte": "state.postgresql/v2",
    "state.yugabyte/v2": "state.postgresql/v2",
    "state.yugabytedb": "state.postgresql/v2",
    "state.yugabytedb/v2": "state.postgresql/v2",
}
"""Other names of types."""

OWN = "pydapr_components"
"""What modules are below that are files of the user's own (`components.own`); there is no package of this name."""

FIRST_VERSIONS = ("", "v0", "v1")
"""Versions that are the first of a type, which it has without saying so."""

_TYPE = re.compile(r"[a-z0-9]+(?:[._/-][a-z0-9]+)*\Z")
_NAMES: Sequence[tuple[tuple[Any, ...], str]] = (
    ((bool, bool | None), "bool"),
    ((int, int | None, float, float | None), "number"),
    ((Seconds, Seconds | None), "duration"),
)
"""What the types of options are called, where they are no strings."""

_CAPITALS = frozenset({"api", "db", "https", "id", "json", "kv", "tls", "ttl", "url"})
"""Parts of names of options that are written in capitals."""

_REQUIRED: Any = dataclasses.MISSING


class Wrong(ValueError):
    """The metadata of a component cannot be used; the message names the key."""


class Part:
    """A component that a resource described: what all kinds have in common.

    Order of calls: `open`, what the contract of the kind adds, `close`. `open` raises `OSError` or `ValueError` when
    what the component depends on cannot be had. Any value of its metadata may have come from a secret store, so none
    belongs into a line of the log; who passes its errors on lets them go through `scrub`.
    """

    features: Sequence[str] = ()
    """What it can do beyond the least that its contract asks for, in the original's words and order."""

    async def open(self) -> None:
        """Gets what is needed before the first use. `close` follows, also when this fails."""

    async def close(self) -> None:
        """Gives everything back."""

    @property
    def capabilities(self) -> Sequence[str]:
        """What the metadata API tells of it."""
        return self.features

    scrub: Callable[[str], str] = str
    """A text without the secrets among the component's metadata. Set by who opens it and knows them."""


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


class Found(Record):
    """A component's class and its options, by the type that a resource names."""

    name: str
    make: Callable[..., Any]
    options: Callable[..., Any]

    def entry(self) -> dict[str, Any]:
        """What documentation and tools need of it, in the form of the original's component metadata bundle."""
        type_, _, rest = self.name.partition(".")
        name, _, version = rest.partition("/")
        about = inspect.getdoc(sys.modules[self.make.__module__]) or ""
        return {
            "schemaVersion": "v1",
            "type": type_,
            "name": name,
            "version": version or "v1",
            "description": about,
            "metadata": [_described(field, hint) for field, hint in _fields(self.options)],
        }


_found: dict[str, Found] = {}
_own: dict[str, Found] = {}


def _fields(options_: Callable[..., Any]) -> "list[tuple[dataclasses.Field[Any], Any]]":
    hints = get_type_hints(options_)
    return [(field, hints[field.name]) for field in dataclasses.fields(options_)]  # type: ignore[arg-type]


def _described(field: "dataclasses.Field[Any]", hint: Any) -> dict[str, Any]:
    about: dict[str, Any] = {
        "name": _camel(field.name),
        "type": next((name for kinds, name in _NAMES if hint in kinds), "string"),
        "required": field.default is _REQUIRED and field.default_factory is _REQUIRED,
        "description": field.metadata["description"],
    }
    if field.default not in (_REQUIRED, None, "", ()):
        shown = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
        about["default"] = f"{field.default:g}s" if hint in (Seconds, Seconds | None) else shown
    if field.metadata["aliases"]:
        about["aliases"] = list(field.metadata["aliases"])
    return about


def component(type_: str, options_: type[Any]) -> "Callable[[type[T]], type[T]]":
    """Marks a component: its constructor takes `options_`, filled in from the metadata."""

    def mark(cls: "type[T]") -> "type[T]":
        known = _own if cls.__module__.startswith(f"{OWN}.") else _found
        known[type_.lower()] = Found(type_, cls, options_)
        return cls

    return mark


def place(type_: str) -> str:
    """The module in which a type (`kind.name`, or `kind.name/v2`) lives, "" when it can be none."""
    kind, _, name = type_.lower().partition(".")
    if kind == "middleware":
        name = name.removeprefix("http.")
    if kind not in KINDS or not _TYPE.match(name):
        return ""
    return f"pydapr.components.{kind}.{re.sub('[./-]', '_', name)}"


def find(type_: str, version: str = "") -> Found | None:
    """The component of a type, compared without regard to case; None when there is none."""
    type_, version = type_.lower(), version.lower()
    rest = "" if version in FIRST_VERSIONS else f"/{version}"
    type_ = ALIASES.get(type_ + rest) or ALIASES.get(type_, type_) + rest
    found = _found.get(type_)
    module = place(type_)
    if found is not None or not module:
        return found
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A kind of which no component is here has no package either.
        if error.name not in (module, module.rpartition(".")[0]):
            raise
        return None
    return _found.get(type_)


def declared(load: Callable[[], None]) -> dict[str, Found]:
    """What modules of `OWN` declare by `component` while `load` imports them; `find` does not find it."""
    _own.clear()
    load()
    return dict(_own)


def registered(kind: str) -> list[Found]:
    """The components of a kind whose modules are imported, by name."""
    return [found for name, found in sorted(_found.items()) if name.startswith(f"{kind}.")]


def available(kind: str) -> list[Found]:
    """All components of a kind, by name. Imports them, so this is for documentation and for errors."""
    if kind not in KINDS:
        return []
    try:
        package = importlib.import_module(f"pydapr.components.{kind}")
    except ModuleNotFoundError:
        return []
    import pkgutil

    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    return registered(kind)


# -- options --


def read(wanted: "Callable[..., T]", metadata: Mapping[str, Any], hidden: Collection[str] = ()) -> "T":
    """The options in the metadata of a resource. Raises `Wrong`, which shows no value of the keys that are `hidden`."""
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
            values[field.name] = convert(hints[field.name], metadata[key], key, key in hidden)
        if field.default is _REQUIRED and not field.metadata["takes_rest"] and not values.get(field.name):
            raise Wrong(f"metadata property {_camel(field.name)} is required")
    for field in dataclasses.fields(wanted):  # type: ignore[arg-type]
        if field.metadata["takes_rest"]:
            values[field.name] = {name: metadata[name] for lower, name in given.items() if lower not in known}
    return wanted(**values)


def convert(wanted: Any, text: Any, key: str, is_hidden: bool = False) -> Any:
    """`text` as a value of the type `wanted`. Raises `Wrong`, which names `key`, and the text unless it `is_hidden`.

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
        return truth.is_true(text)
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
        shown = "the value, which is not shown here," if is_hidden else repr(text)
        raise Wrong(f"metadata property {key}: {shown} is no {what}") from None
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
    return first + "".join(part.upper() if part in _CAPITALS else part.capitalize() for part in rest)
