"""Spans to a collector by OTLP (`spec.tracing.otel`). Opened by `daprd.tracing`; goes on to `observe.otlp`."""

import asyncio
from collections.abc import Mapping, Sequence
from struct import Struct

from pydapr.observe import otlp
from pydapr.observe.tracing import Span
from pydapr.observe.tracing_batches import Failed
from pydapr.wire import invocation

METHOD = b"/opentelemetry.proto.collector.trace.v1.TraceService/Export"
PATH = "/v1/traces"
SCOPE = "dapr-diagnostics"
SCHEMA = "https://opentelemetry.io/schemas/1.25.0"
AT_A_TIME = 64
"""Spans that are put into words before others get their turn."""

_field = invocation.field
_fixed64 = Struct("<cQcQ").pack
_fixed32 = Struct("<2sI").pack
_FLAGS = 0x300
"""In `flags`: whether the parent is in another process is known, and it is."""


class Otlp:
    """Sends spans. `resource` describes the sidecar; `timeout` is for one try."""

    def __init__(self, sender: otlp.Sender, resource: Mapping[str, str], timeout: float) -> None:
        self._sender = sender
        self._timeout = timeout
        self._resource = _field(b"\x0a", otlp.resource(resource))
        self._scope = _field(b"\x0a", otlp.text(b"\x0a", SCOPE))
        self._schema = otlp.text(b"\x1a", SCHEMA)

    async def export(self, spans: Sequence[Span]) -> None:
        parts = [self._scope]
        for count, span in enumerate(spans, 1):
            parts.append(_field(b"\x12", encode(span)))
            if not count % AT_A_TIME:
                await asyncio.sleep(0)
        scoped = _field(b"\x12", b"".join(parts))
        message = _field(b"\x0a", self._resource + scoped + self._schema)
        try:
            await otlp.deliver(self._sender, message, self._timeout)
        except otlp.Refused as error:
            raise Failed(f"traces export: {error}") from None

    def hurry(self) -> None:
        self._sender.ending.set()

    def close(self) -> None:
        self._sender.close()


def encode(span: Span) -> bytes:
    """A `Span`."""
    ids = bytes.fromhex(span.traceparent.replace(b"-", b"").decode())
    attributes = b"".join([otlp.attribute(b"\x4a", key, value) for key, value in span.attributes()])
    state = _field(b"\x1a", span.state) if span.state else b""
    parent = _field(b"\x22", bytes.fromhex(span.parent.decode())) if span.parent else b""
    status = b"\x7a\x00"
    if span.failure is not None:
        status = _field(b"\x7a", (otlp.text(b"\x12", span.failure) if span.failure else b"") + b"\x18\x02")
    return b"".join(
        (
            b"\x0a\x10", ids[1:17], b"\x12\x08", ids[17:25], state, parent,
            otlp.text(b"\x2a", span.name), b"\x30%c" % span.kind,
            _fixed64(b"\x39", span.began, b"\x41", span.ended), attributes, status,
            _fixed32(b"\x85\x01", _FLAGS | ids[25]),
        )
    )  # fmt: skip
