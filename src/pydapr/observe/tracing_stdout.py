"""Spans as lines of the log (`spec.tracing.stdout`), as the original words them. Opened by `daprd.tracing`."""

from collections.abc import Sequence

from pydapr.observe import logging
from pydapr.observe.tracing import Span

log = logging.get("dapr.runtime.trace")

_NO_SPAN = "0" * 16


class Stdout:
    """Writes a line for each span."""

    async def export(self, spans: Sequence[Span]) -> None:
        for span in spans:
            text = span.traceparent.decode()
            log.info(
                f"[{span.name}] Trace: {text[3:35]} Span: {span.parent.decode() or _NO_SPAN}/{text[36:52]} "
                f"Time: [{_when(span.began)} ->  {_when(span.ended)}] Annotations: []"
            )

    def hurry(self) -> None:
        pass

    def close(self) -> None:
        pass


def _when(nanoseconds: int) -> str:
    """As Go prints a time."""
    import time

    second, rest = divmod(nanoseconds, 1_000_000_000)
    local = time.localtime(second)
    fraction = f".{rest:09d}".rstrip("0").rstrip(".")
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', local)}{fraction} {time.strftime('%z %Z', local)}"
