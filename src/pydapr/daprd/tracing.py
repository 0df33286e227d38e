"""Tracing as the Configuration and OpenTelemetry's variables ask for it: the tracer, and where its spans go.

Called by `daprd.runtime` at the start. Which variables count is the original's choice and that of its library
(v1.18.3, `pkg/runtime/runtime.go`, `setupTracing`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pydapr.daprd.farewell import Farewell
from pydapr.observe import logging, tracing
from pydapr.resources import configuration

if TYPE_CHECKING:
    import ssl

    from pydapr.observe import otlp
    from pydapr.observe.tracing_batches import Exporter

log = logging.get("dapr.runtime")

OTLP_TIMEOUT = 10.0
TLS_FILES = ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")
"""How variables end that name files."""


class Unusable(Exception):
    """Tracing is configured in a way that cannot be; the message says what is wrong."""


def open_tracing(
    found: configuration.Configuration,
    app_id: str,
    environ: Mapping[str, str],
    farewell: Farewell,
    on_loss: Callable[[int, str], None] | None = None,
) -> tracing.Tracer | None:
    """The tracer, None when tracing is off. Spans go out until `farewell`. Raises `Unusable`.

    `on_loss` hears how many spans do not get to a collector, and why in a word.
    """
    try:
        wanted = configuration.with_otel_environment(found, environ).tracing
    except configuration.ConfigurationError as error:
        raise Unusable(str(error)) from None
    rate = tracing.rate_of(wanted.sampling_rate)
    log.info(f"Dapr trace sampler initialized: {tracing.Tracer.describe(rate)}")
    if not rate:
        return None
    exporters = _exporters(wanted, found.tracing, app_id, environ)
    if not exporters:
        return tracing.Tracer(rate, None, gives_ids=bool(wanted.sampling_rate))
    from pydapr.observe import tracing_batches

    bounds = tracing_batches.Bounds.of(environ)
    sinks = []
    for one in exporters:
        batches = tracing_batches.Batches(one, bounds, on_loss=on_loss)
        farewell.add(batches.close)
        sinks.append(batches.add)
    return tracing.Tracer(rate, _all(sinks))


def _all(sinks: Sequence[Callable[[tracing.Span], None]]) -> Callable[[tracing.Span], None]:
    if len(sinks) == 1:
        return sinks[0]

    def add(span: tracing.Span) -> None:
        for sink in sinks:
            sink(span)

    return add


def _exporters(
    wanted: configuration.Tracing, named: configuration.Tracing, app_id: str, environ: Mapping[str, str]
) -> "list[Exporter[tracing.Span]]":
    """Those that are asked for; `named` is what the Configuration says itself. Raises `Unusable`."""
    out: list[Exporter[tracing.Span]] = []
    if wanted.stdout:
        from pydapr.observe import tracing_stdout

        out.append(tracing_stdout.Stdout())
    resource = resource_of(app_id, environ)
    if wanted.zipkin_endpoint:
        from pydapr.observe import tracing_zipkin

        try:
            out.append(tracing_zipkin.Zipkin(wanted.zipkin_endpoint, resource))
        except ValueError as error:
            raise Unusable(f"tracing: zipkin.endpointAddress: {error}") from None
    otel = wanted.otel
    if otel.endpoint_address and otel.protocol:
        if otel.protocol not in ("http", "grpc"):
            raise Unusable(f"invalid protocol {otel.protocol} provided for Otel endpoint")
        from pydapr.observe import otlp, tracing_otlp

        is_whole = not named.otel.endpoint_address and bool(environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
        try:
            target = _target(otel, environ, is_whole)
            sender = (
                otlp.HttpSender(target) if otel.protocol == "http" else otlp.GrpcSender(target, tracing_otlp.METHOD)
            )
        except (ValueError, OSError) as error:
            raise Unusable(f"tracing: otel: {error}") from None
        out.append(tracing_otlp.Otlp(sender, resource, target.timeout))
    return out


def _target(otel: configuration.Otel, environ: Mapping[str, str], is_whole: bool) -> "otlp.Target":
    """Where spans go by OTLP; the path of an endpoint for all signals stands before that of spans."""
    from urllib.parse import unquote

    from pydapr.observe import otlp, tracing_otlp

    place, slash, path = otel.endpoint_address.partition("/")
    path = slash + path.rstrip("/")
    if not (is_whole and path) and not path.endswith(tracing_otlp.PATH):
        path += tracing_otlp.PATH
    headers = [_split(pair) for pair in otel.headers]
    if not headers:
        given = [_split(pair) for pair in _variable(environ, "HEADERS").split(",")]
        headers = [(name, equals, unquote(value)) for name, equals, value in given]
    address, said = without_user(place)
    for pair in otel.secret_headers:
        log.warning(f"tracing: header {pair.name} is left out: its value is in a secret of Kubernetes; give it as text")
    timeout = otel.timeout_seconds or _milliseconds(_variable(environ, "TIMEOUT")) or OTLP_TIMEOUT
    return otlp.Target(
        address,
        otel.is_secure,
        with_user(said, ((name.strip(), value.strip()) for name, equals, value in headers if equals)),
        timeout,
        path,
        _variable(environ, "COMPRESSION") == "gzip",
        tls_of([_variable(environ, name) for name in TLS_FILES], otel.protocol == "grpc") if otel.is_secure else None,
    )


def without_user(place: str) -> tuple[str, str]:
    """A host and port without the name and password that a URL may have before them, and what says these instead."""
    from pydapr.lib import urls

    user, at, address = place.rpartition("@")
    return address, urls.authorization(user) if at else ""


def with_user(said: str, headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """`headers` with what `without_user` has found, unless they say it themselves."""
    given = tuple(headers)
    if not said or any(name.lower() == "authorization" for name, _ in given):
        return given
    return (*given, ("authorization", said))


def _split(pair: str) -> tuple[str, str, str]:
    return pair.partition("=")


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or environ.get(f"OTEL_EXPORTER_OTLP_{name}", "")


def _milliseconds(text: str) -> float:
    return int(text) / 1000 if text.isdecimal() else 0.0


def tls_of(files: Sequence[str], with_http2: bool) -> "ssl.SSLContext | None":
    """Whom to trust and what to present, by the `files` of `TLS_FILES`; None when none is given. Raises `OSError`."""
    if not any(files):
        return None
    from pathlib import Path

    from pydapr.net import client_tls

    made = client_tls.context(*[Path(name).read_text() if name else "" for name in files])
    if with_http2:
        made.set_alpn_protocols(["h2"])
    return made


def resource_of(app_id: str, environ: Mapping[str, str]) -> dict[str, str]:
    """What describes this sidecar to a collector: its app id, and what OpenTelemetry's variables say."""
    from urllib.parse import unquote

    out = {"service.name": app_id}
    try:
        for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
            if pair.strip():
                name, equals, value = pair.partition("=")
                if not equals:
                    raise ValueError(f"missing value: {pair}")
                out[name.strip()] = unquote(value.strip())
    except ValueError as error:
        log.warning(f"failed to create OpenTelemetry resource, using default: {error}")
        out = {"service.name": app_id}
    if named := environ.get("OTEL_SERVICE_NAME", "").strip():
        out["service.name"] = named
    return dict(sorted(out.items()))
