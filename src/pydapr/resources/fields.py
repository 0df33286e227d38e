"""Typed reading of one mapping of a resource, with errors that name the key.

The files of this folder, one per kind, take their fields from here. Two manners, as the original has two
decoders: `JSON` for resources (keys in any case, numbers accepted as text, as sigs.k8s.io/yaml does) and `YAML`
for configuration files (keys in exact case, text as written). An absent or null key leaves the default.
"""

from __future__ import annotations

from pydapr.lib import durations
from pydapr.lib.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

JSON, YAML = "json", "yaml"
_TRUE, _FALSE = ("y", "Y", "yes", "on"), ("n", "N", "no", "off")


class FieldError(ValueError):
    """A value has the wrong type; the message is worded as the original's decoder words it."""


class SecretKeyRef(Record):
    """A value to be looked up in a secret store: entry `key` of secret `name`."""

    name: str
    key: str


class NameValue(Record):
    """One entry of a component's metadata or of headers: plain, from a secret, or from the environment."""

    name: str
    value: str | None = None
    """Text as it stands, anything else as JSON text; None when it is given by reference or not at all."""
    secret_key_ref: SecretKeyRef | None = None
    env_ref: str = ""


class Fields:
    """A mapping of the document; `struct` and `path` say in errors where it stands."""

    __slots__ = ("_manner", "_original", "_path", "_struct", "_values")

    def __init__(self, values: Mapping[str, object], struct: str, manner: str = JSON, path: str = "") -> None:
        self._values = self._original = values
        if manner == JSON and any(not key.islower() for key in values):
            self._values = {key.lower(): values[key] for key in sorted(values)}
        self._struct, self._manner, self._path = struct, manner, path

    def value(self, key: str) -> object:
        """What stands at `key`, None when nothing does."""
        return self._values.get(key.lower() if self._manner == JSON else key)

    def mapping(self) -> Mapping[str, object]:
        """Everything, as it came."""
        return self._original

    def text(self, key: str, default: str = "") -> str:
        value = self.value(key)
        return default if value is None else self._text(key, value)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.value(key)
        return default if value is None else self._bool(key, value)

    def flag_or_none(self, key: str) -> bool | None:
        value = self.value(key)
        return None if value is None else self._bool(key, value)

    def number(self, key: str, default: int = 0, kind: str = "int") -> int:
        value = self.value(key)
        return default if value is None else self._int(key, value, kind)

    def number_or_none(self, key: str, kind: str = "int") -> int | None:
        value = self.value(key)
        return None if value is None else self._int(key, value, kind)

    def numbers_or_none(self, key: str) -> tuple[int, ...] | None:
        if self.value(key) is None:
            return None
        return tuple(self._int(key, item, "int") for item in self._list(key, "[]int"))

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(self._text(key, item) for item in self._list(key, "[]string"))

    def pairs(self, key: str) -> dict[str, str]:
        """A mapping of texts."""
        found = self._dict(key, self.value(key), "map[string]string")
        return {name: "" if item is None else self._text(key, item) for name, item in found.items()}

    def seconds(self, key: str) -> float | None:
        """A Go duration, or a number of nanoseconds."""
        value = _meaning(self.value(key))
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool):
            return value / 1e9
        try:
            return durations.parse(str(value))
        except ValueError:
            raise self.wrong(key, value, "time.Duration") from None

    def dynamic(self, key: str) -> str | None:
        """Any value as text: text as it is, everything else as JSON."""
        value = self.value(key)
        if value is None or isinstance(value, str):
            return value
        from pydapr.resources import documents

        return documents.json_text(value)

    def child(self, key: str, struct: str = "") -> Fields:
        """The mapping at `key`; an empty one when there is none."""
        return Fields(self._dict(key, self.value(key), struct or key), struct or key, self._manner, self._at(key))

    def has(self, key: str) -> bool:
        return self.value(key) is not None

    def children(self, key: str, struct: str = "") -> list[Fields]:
        """The mappings in the list at `key`."""
        name = struct or key
        items = self._list(key, f"[]{name}")
        return [Fields(self._dict(key, item, name), name, self._manner, self._at(key)) for item in items]

    def named(self, key: str, struct: str = "") -> dict[str, Fields]:
        """The mappings in the mapping at `key`, by name."""
        name = struct or key
        found = self._dict(key, self.value(key), f"map[string]{name}")
        return {
            entry: Fields(self._dict(entry, item, name), name, self._manner, f"{self._at(key)}.{entry}")
            for entry, item in found.items()
        }

    def name_values(self, key: str) -> tuple[NameValue, ...]:
        """Metadata or headers: name with value, secretKeyRef or envRef."""
        return tuple(
            NameValue(
                name=item.text("name"),
                value=item.dynamic("value"),
                secret_key_ref=item.secret_key_ref("secretKeyRef"),
                env_ref=item.text("envRef"),
            )
            for item in self.children(key, "common.NameValuePair")
        )

    def secret_key_ref(self, key: str) -> SecretKeyRef | None:
        reference = self.child(key, "SecretKeyRef")
        found = SecretKeyRef(reference.text("name"), reference.text("key"))
        return found if found.name or found.key else None

    def wrong(self, key: str, value: object, wanted: str) -> FieldError:
        """The error for a value of the wrong type."""
        if self._manner == YAML:
            return FieldError(f"{self._at(key)}: cannot unmarshal {_yaml_kind(value)} into {wanted}")
        place = f"Go struct field {self._struct}.{self._at(key)} of type {wanted}"
        return FieldError(f"json: cannot unmarshal {_json_kind(value)} into {place}")

    def _at(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def _text(self, key: str, value: object) -> str:
        if isinstance(value, str):
            return value
        written = getattr(value, "written", None)
        if isinstance(written, str):
            return written
        if not isinstance(value, bool | int | float):
            raise self.wrong(key, value, "string")
        from pydapr.resources import documents

        return documents.scalar_text(value)

    def _bool(self, key: str, value: object) -> bool:
        meant = _meaning(value)
        if meant is True or meant is False:
            return meant
        if self._manner == YAML and (meant in _TRUE or meant in _FALSE):
            return meant in _TRUE
        raise self.wrong(key, value, "bool")

    def _int(self, key: str, value: object, kind: str) -> int:
        meant = _meaning(value)
        if isinstance(meant, float) and (meant.is_integer() or (self._manner == YAML and abs(meant) < 1 << 63)):
            meant = int(meant)  # Go's YAML cuts off what is behind the point
        if isinstance(meant, bool) or not isinstance(meant, int):
            raise self.wrong(key, value, kind)
        if not -(1 << 63 if kind == "int" else 1 << 31) <= meant < (1 << 63 if kind == "int" else 1 << 31):
            raise self.wrong(key, value, kind)
        return meant

    def _list(self, key: str, wanted: str) -> list[object]:
        value = self.value(key)
        if value is None:
            return []
        if not isinstance(value, list | tuple):
            raise self.wrong(key, value, wanted)
        return [item for item in value if item is not None]

    def _dict(self, key: str, value: object, wanted: str) -> dict[str, object]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.wrong(key, value, wanted)
        return value


def _meaning(value: object) -> object:
    """The value behind a scalar that also knows how it was written (`documents.Plain`)."""
    return getattr(value, "value", value)


def plain(value: object) -> object:
    """`value` with no written forms left in it."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return _meaning(value)


def _json_kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return f"number {value}"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def _yaml_kind(value: object) -> str:
    if isinstance(value, dict | list):
        return "!!map" if isinstance(value, dict) else "!!seq"
    meant = _meaning(value)
    tag = "bool" if isinstance(meant, bool) else "int" if isinstance(meant, int) else "float"
    tag = "str" if isinstance(meant, str) else tag
    return f"!!{tag} `{getattr(value, 'written', value)}`"
