"""Output bindings that pass SQL on: what an app asks, what it is told. Used by `bindings.postgres`, `bindings.mysql`.

The operations are `exec`, which tells how many rows it concerned, `query`, whose rows are a JSON array, and `close`.
"""

import base64
import json
from abc import abstractmethod
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from math import isfinite
from typing import Any

from pydapr.components.bindings import Answer, BindingError, OutputBinding, Request
from pydapr.lib import durations

SECONDS = 600.0
"""How long a statement may take."""

EXEC, QUERY, CLOSE = "exec", "query", "close"


class SqlBinding(OutputBinding):
    operations = (EXEC, QUERY, CLOSE)
    seconds = SECONDS

    def __init__(self) -> None:
        self._is_closed = False

    @abstractmethod
    async def exec(self, sql: str, values: Sequence[Any]) -> int:
        """How many rows a statement concerned. Raises `BindingError`."""

    @abstractmethod
    async def query(self, sql: str, values: Sequence[Any]) -> Sequence[Any] | None:
        """The rows that a statement has found, as they are in JSON. Raises `BindingError`."""

    async def invoke(self, request: Request) -> Answer | None:
        if request.operation == CLOSE:
            self._is_closed = True
            await self.close()
            return None
        if self._is_closed:
            raise BindingError("component is closed")
        sql = request.metadata.get("sql")
        if not sql:
            raise BindingError("required metadata not set: sql")
        values = _values(request.metadata.get("params", ""))
        began = datetime.now(UTC)
        told = {"operation": request.operation, "sql": sql, "start-time": stamp(began)}
        data = b""
        if request.operation == EXEC:
            told["rows-affected"] = str(await self.exec(sql, values))
        else:
            found = await self.query(sql, values)
            data = _encoded(found)
        ended = datetime.now(UTC)
        told["end-time"], told["duration"] = stamp(ended), durations.text((ended - began).total_seconds())
        return Answer(data, told)


def _encoded(rows: Any) -> bytes:
    """Rows as JSON, decimal numbers with all of their digits."""
    import msgspec

    if _has_no_number(rows):
        raise BindingError("error serializing results: json: unsupported value: NaN or infinity")
    try:
        encoded: bytes = _encoder().encode(rows)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise BindingError(f"error serializing results: {error}") from None
    return encoded


@cache
def _encoder() -> Any:
    import msgspec

    return msgspec.json.Encoder(decimal_format="number")


def _has_no_number(value: Any) -> bool:
    if isinstance(value, float | Decimal):
        return not isfinite(value)
    if isinstance(value, dict):
        return any(map(_has_no_number, value.values()))
    return isinstance(value, list) and any(map(_has_no_number, value))


def _values(text: str) -> list[Any]:
    """What stands for the parameters of a statement."""
    if not text:
        return []
    before = "invalid metadata property params: failed to unserialize into an array: "
    try:
        values = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise BindingError(f"{before}{error}") from None
    if values is None:
        return []
    if not isinstance(values, list):
        raise BindingError(f"{before}it is no array")
    return values


def stamp(moment: datetime) -> str:
    """A time as Go writes it by RFC 3339, with as much of the second as there is."""
    text = moment.isoformat(timespec="microseconds")
    whole, _, rest = text.partition(".")
    fraction = rest[:6].rstrip("0")
    zone = "Z" if rest[6:] in ("", "+00:00") else rest[6:]
    return f"{whole}.{fraction}{zone}" if fraction else f"{whole}{zone}"


def shown(value: Any) -> Any:
    """What a database has found as it is in JSON; bytes in base64, times by RFC 3339."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, date):
        return f"{value.isoformat()}T00:00:00Z"
    if isinstance(value, time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return durations.text(value.total_seconds())
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, list | tuple | set | frozenset):
        return [shown(one) for one in value]
    if isinstance(value, dict):
        return {str(key): shown(one) for key, one in value.items()}
    return str(value)
