"""Metrics and the log to a collector, where OpenTelemetry's variables ask for it. The original has neither.

Called by `daprd.runtime` at the start, and there only when `OTEL_METRICS_EXPORTER` or `OTEL_LOGS_EXPORTER` say `otlp`.
"""

from collections.abc import Callable, Iterable, Mapping
from urllib.parse import unquote, urlsplit

from pydapr.daprd import tracing
from pydapr.daprd.farewell import Farewell
from pydapr.lib import pflag
from pydapr.observe import logging, otlp

INTERVAL = 60_000
"""Milliseconds between two messages."""


def open_metrics(
    pieces: Callable[[], Iterable[str]], app_id: str, environ: Mapping[str, str], farewell: Farewell
) -> None:
    """Sends what `pieces` tell until `farewell`. Raises `tracing.Unusable`."""
    from pydapr.observe import metrics_otlp

    sender, target = _sender(environ, "METRICS", metrics_otlp.METHOD, metrics_otlp.PATH)
    try:
        interval = _number(environ.get("OTEL_METRIC_EXPORT_INTERVAL", ""), INTERVAL) / 1000
    except ValueError as error:
        raise tracing.Unusable(f"OTEL_METRIC_EXPORT_INTERVAL: {error}") from None
    resource = tracing.resource_of(app_id, environ)
    exporter = metrics_otlp.Exporter(pieces, sender, resource, interval, target.timeout)
    farewell.add(exporter.close)


def open_logs(app_id: str, environ: Mapping[str, str], farewell: Farewell) -> None:
    """Sends the lines of the log from here on, until `farewell`. Raises `tracing.Unusable`."""
    from pydapr.observe import logs_otlp, tracing_batches

    sender, target = _sender(environ, "LOGS", logs_otlp.METHOD, logs_otlp.PATH)
    exporter = logs_otlp.Logs(sender, tracing.resource_of(app_id, environ), target.timeout)
    delay = environ.get("OTEL_BLRP_SCHEDULE_DELAY", "")
    bounds = tracing_batches.Bounds(delay=int(delay) / 1000 if delay.isdecimal() and int(delay) else 1.0)
    batches: tracing_batches.Batches[logs_otlp.Record] = tracing_batches.Batches(exporter, bounds, "Lines of the log")

    async def close(seconds: float) -> None:
        logging.also(None)
        await batches.close(seconds)

    farewell.add(close)
    logging.also(logs_otlp.sink(batches.add))


def _sender(environ: Mapping[str, str], signal: str, method: bytes, path: str) -> tuple[otlp.Sender, otlp.Target]:
    """Raises `tracing.Unusable`."""

    def variable(name: str) -> str:
        return environ.get(f"OTEL_EXPORTER_OTLP_{signal}_{name}") or environ.get(f"OTEL_EXPORTER_OTLP_{name}", "")

    is_http = variable("PROTOCOL").startswith("http")
    is_whole = bool(environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))
    try:
        target = _target(variable, is_http, is_whole, path)
        return otlp.HttpSender(target) if is_http else otlp.GrpcSender(target, method), target
    except (ValueError, OSError) as error:
        raise tracing.Unusable(f"{signal.lower()} by OTLP: {error}") from None


def _target(variable: Callable[[str], str], is_http: bool, is_whole: bool, path: str) -> otlp.Target:
    """Where a signal goes; a path of the endpoint for all signals stands before its own."""
    endpoint = variable("ENDPOINT") or f"http://localhost:{4318 if is_http else 4317}"
    has_scheme = "://" in endpoint
    parts = urlsplit(endpoint if has_scheme else f"//{endpoint}")
    given = parts.path.rstrip("/")
    is_secure = parts.scheme == "https" or not (has_scheme or variable("INSECURE") == "true")
    pairs = [pair.partition("=") for pair in variable("HEADERS").split(",") if "=" in pair]
    files = [variable(name) for name in tracing.TLS_FILES]
    address, said = tracing.without_user(parts.netloc)
    return otlp.Target(
        address,
        is_secure,
        tracing.with_user(said, ((name.strip(), unquote(value).strip()) for name, _, value in pairs)),
        _number(variable("TIMEOUT"), 10_000) / 1000,
        given if is_whole and given else given + path,
        variable("COMPRESSION") == "gzip",
        tracing.tls_of(files, with_http2=not is_http) if is_secure else None,
    )


def _number(text: str, otherwise: int) -> int:
    """Raises `ValueError`."""
    number = pflag.atoi(text) if text else otherwise
    return number if number > 0 else otherwise
