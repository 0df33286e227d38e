"""The lines of the log to a collector by OTLP, beside where they are written. Opened by `daprd.exports`.

`sink` makes what `observe.logging.also` is given; `tracing_batches` has the records wait, and bounds them.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from struct import pack

from pydapr.observe import logging, otlp
from pydapr.observe.tracing_batches import Failed
from pydapr.wire import invocation

METHOD = b"/opentelemetry.proto.collector.logs.v1.LogsService/Export"
PATH = "/v1/logs"

_field = invocation.field
_SEVERITIES = {
    logging.DEBUG: (5, "debug"), logging.INFO: (9, "info"), logging.WARNING: (13, "warning"),
    logging.ERROR: (17, "error"), logging.FATAL: (21, "fatal"),
}  # fmt: skip
"""Numbers of OTLP, and the words that the log has."""


class Record:
    """A line of the log."""

    __slots__ = ("fields", "level", "message", "time")

    def __init__(self, level: int, message: str, fields: Mapping[str, object]) -> None:
        self.time = time.time_ns()
        self.level, self.message, self.fields = level, message, fields

    @property
    def scope(self) -> str:
        return str(self.fields.get("scope", ""))


def sink(add: Callable[[Record], None]) -> "logging.Sink":
    """What `logging.also` takes: makes a record of each line. `add` is called in the loop that runs now, whichever
    thread the line came from."""
    loop, home = asyncio.get_running_loop(), threading.get_ident()

    def take(level: int, message: str, fields: Mapping[str, object]) -> None:
        record = Record(level, message, fields)
        if threading.get_ident() == home:
            add(record)
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended, and so has the export
            loop.call_soon_threadsafe(add, record)

    return take


class Logs:
    """Sends records. `resource` describes the sidecar; `seconds` is for one try."""

    def __init__(self, sender: otlp.Sender, resource: Mapping[str, str], seconds: float) -> None:
        self._sender = sender
        self._seconds = seconds
        self._resource = _field(b"\x0a", otlp.resource(resource))

    async def export(self, records: Sequence[Record]) -> None:
        scopes: dict[str, list[bytes]] = {}
        for record in records:
            scopes.setdefault(record.scope, []).append(_field(b"\x12", encode(record)))
        parts = [
            _field(b"\x12", _field(b"\x0a", otlp.text(b"\x0a", scope)) + b"".join(encoded))
            for scope, encoded in scopes.items()
        ]
        try:
            await otlp.deliver(self._sender, _field(b"\x0a", self._resource + b"".join(parts)), self._seconds)
        except otlp.Refused as error:
            raise Failed(str(error)) from None

    def hurry(self) -> None:
        self._sender.ending.set()

    def close(self) -> None:
        self._sender.close()


def encode(record: Record) -> bytes:
    """A `LogRecord`."""
    number, name = _SEVERITIES.get(record.level, (0, ""))
    fields = {key: str(value) for key, value in record.fields.items() if key not in ("scope", "type")}
    moment = pack("<Q", record.time)
    return b"".join(
        (
            b"\x09", moment, b"\x10%c" % number, otlp.text(b"\x1a", name),
            _field(b"\x2a", otlp.text(b"\x0a", record.message)),
            *[otlp.attribute(b"\x32", key, value) for key, value in fields.items()], b"\x59", moment,
        )
    )  # fmt: skip
