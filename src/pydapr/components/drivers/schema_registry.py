"""Values in Avro with schemas of a Confluent schema registry. Home of `fastavro` (an extra).

Used by `drivers.kafka`. A value begins with a zero and the schema's id in four bytes. What apps write and read is
JSON: plain, where a value of a union stands for itself, or Avro's own, where its type stands before it. Logical types
are ignored: numbers stay numbers.
"""

import asyncio
import base64
import io
import json
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from pydapr.components.drivers.kafka import Failed
from pydapr.net import http

_SECONDS = 10.0
_SCALARS: Mapping[str, type | tuple[type, ...]] = {
    "null": type(None), "boolean": bool, "int": int, "long": int, "float": (int, float), "double": (int, float),
    "bytes": str, "string": str,
}  # fmt: skip
_LIMITS = {"int": 2**31, "long": 2**63}


class Registry:
    """Raises `Failed`. The latest schema of a topic is kept for `keep` seconds; a schema of an id never changes."""

    def __init__(self, url: str, login: tuple[str, str], keep: float, is_avro_json: bool) -> None:
        import fastavro  # noqa: F401  # missing, it is missing at start and not when the first message comes

        self._url, self._keep, self._is_avro_json = url.rstrip("/"), keep, is_avro_json
        self._headers = {"accept": "application/vnd.schemaregistry.v1+json, application/json"}
        if login[0]:
            self._headers["authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
        self._http = http.Client()
        self._latest: dict[str, tuple[float, int, Schema]] = {}
        self._by_id: dict[int, Schema] = {}
        self._asking = asyncio.Lock()

    def close(self) -> None:
        self._http.close()

    async def encode(self, topic: str, data: bytes) -> bytes:
        id_, schema = await self._latest_of(f"{topic}-value")
        return b"\0" + id_.to_bytes(4) + schema.encode(data, self._is_avro_json)

    async def decode(self, value: bytes) -> bytes:
        if len(value) < 5:
            raise Failed("value is too short")
        id_ = int.from_bytes(value[1:5])
        schema = self._by_id.get(id_)
        if schema is None:
            said = await self._ask(f"/schemas/ids/{id_}")
            schema = self._by_id[id_] = Schema(said.get("schema"))
        return schema.decode(value[5:], self._is_avro_json)

    async def _latest_of(self, subject: str) -> "tuple[int, Schema]":
        async with self._asking:
            until, id_, schema = self._latest.get(subject, (0.0, 0, None))
            if schema is not None and time.monotonic() < until:
                return id_, schema
            said = await self._ask(f"/subjects/{quote(subject, safe='')}/versions/latest")
            found = said.get("id")
            if not isinstance(found, int):
                raise Failed("the schema registry gave no schema")
            schema = self._by_id.get(found) or Schema(said.get("schema"))
            self._by_id[found] = schema
            self._latest[subject] = (time.monotonic() + self._keep, found, schema)
            return found, schema

    async def _ask(self, path: str) -> Mapping[str, Any]:
        try:
            answer = await self._http.request("GET", self._url + path, self._headers, seconds=_SECONDS)
            said = json.loads(answer.body)
        except (OSError, ValueError) as error:
            raise Failed(f"schema registry: {error}") from None
        if not isinstance(said, dict):
            raise Failed("schema registry: the answer is no JSON object")
        if answer.status != 200:
            raise Failed(f"schema registry: {answer.status}: {said.get('message', '')}")
        return said


class Schema:
    """How values of one schema are written. `text` is its JSON."""

    def __init__(self, text: object) -> None:
        import fastavro
        from fastavro.schema import SchemaParseException

        try:
            self._plain = _without_logical_types(json.loads(str(text)))
            self._named: dict[str, Any] = {}
            self._parsed = fastavro.parse_schema(self._plain, named_schemas=self._named)
        except (ValueError, TypeError, KeyError, SchemaParseException) as error:
            raise Failed(f"the schema cannot be read: {error}") from None

    def encode(self, data: bytes, is_avro_json: bool) -> bytes:
        import fastavro

        out = io.BytesIO()
        try:
            if is_avro_json:
                [value] = fastavro.json_reader(io.StringIO(data.decode()), self._parsed)
            else:
                value = self._value(self._parsed, json.loads(data))
            fastavro.schemaless_writer(out, self._parsed, value)
        except Failed:
            raise
        except Exception as error:  # the library raises whatever a value happens to lead to
            raise Failed(f"the value does not fit the schema: {error}") from None
        return out.getvalue()

    def decode(self, data: bytes, is_avro_json: bool) -> bytes:
        import fastavro

        try:
            value = fastavro.schemaless_reader(io.BytesIO(data), self._parsed, None)
            if is_avro_json:
                out = io.StringIO()
                fastavro.json_writer(out, self._parsed, [value])
                return out.getvalue().encode()
            return json.dumps(_shown(value), ensure_ascii=False, separators=(",", ":")).encode()
        except Exception as error:
            raise Failed(f"the value does not fit the schema: {error}") from None

    def _value(self, schema: Any, given: Any) -> Any:
        """What plain JSON stands for. Raises `Failed`."""
        if isinstance(schema, list):
            return self._one_of(schema, given)
        kind = schema["type"] if isinstance(schema, dict) else schema
        if isinstance(kind, dict | list):
            return self._value(kind, given)
        if kind in _SCALARS:
            return _scalar(kind, given)
        if kind in self._named:
            return self._value(self._named[kind], given)
        if kind == "enum" and given in schema["symbols"]:
            return given
        if kind == "fixed":
            return _scalar("bytes", given)
        if kind == "array" and isinstance(given, list):
            return [self._value(schema["items"], one) for one in given]
        if kind == "map" and isinstance(given, dict):
            return {name: self._value(schema["values"], one) for name, one in given.items()}
        if kind in ("record", "error") and isinstance(given, dict):
            return self._record(schema["fields"], given)
        raise _misfit(f"{given!r} is no {kind}")

    def _record(self, fields: list[Any], given: dict[str, Any]) -> dict[str, Any]:
        types = {field["name"]: field["type"] for field in fields}
        unknown = given.keys() - types.keys()
        if unknown:
            raise _misfit(f"it has no field {min(unknown)}")
        whole = {field["name"]: field["default"] for field in fields if "default" in field} | given
        missing = types.keys() - whole.keys()
        if missing:
            raise _misfit(f"field {min(missing)} is missing")
        return {name: self._value(type_, whole[name]) for name, type_ in types.items()}

    def _one_of(self, schemas: list[Any], given: Any) -> Any:
        """The first that fits; the library is told the name of a record, lest it guesses."""
        for one in schemas:
            with suppress(Failed):
                value = self._value(one, given)
                name = one["name"] if isinstance(one, dict) and "name" in one else one
                return (name, value) if isinstance(value, dict) and name in self._named else value
        raise _misfit("it is none of a union's types")


def _scalar(kind: str, given: Any) -> Any:
    fits = isinstance(given, _SCALARS[kind]) and (kind == "boolean" or not isinstance(given, bool))
    if not fits:
        raise _misfit(f"{given!r} is no {kind}")
    if kind == "bytes":
        try:
            return given.encode("latin-1")
        except UnicodeEncodeError:
            raise _misfit("a character of bytes is beyond 255") from None
    if kind in _LIMITS and not -_LIMITS[kind] <= given < _LIMITS[kind]:
        raise _misfit(f"{given} is no {kind}")
    return given


def _misfit(reason: str) -> Failed:
    return Failed(f"the value does not fit the schema: {reason}")


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_logical_types(one) for one in schema]
    if isinstance(schema, dict):
        return {
            name: one if name == "default" else _without_logical_types(one)
            for name, one in schema.items()
            if name != "logicalType"
        }
    return schema


def _shown(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, dict):
        return {name: _shown(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_shown(one) for one in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None  # JSON has no word for it
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    return value
