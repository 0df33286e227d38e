"""What a run will start: the sidecar's command line and the app's environment, decided before any starts.

`run.py` makes a plan from the flags while it holds the start lock, and then carries it out. Refusals carry
Dapr's words.
"""

import os
import re
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import NamedTuple

from pydapr.cli import address, embedded, grammar, home, names, ports, sidecars, status

_PLACEMENT_PORT = 50005
_SCHEDULER_PORT = 50006
_SENTRY_ADDRESS = "localhost:50001"
_DEFAULT_APP_CHANNEL = "127.0.0.1"

_QUANTITY = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?")
_NO_QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


class Refused(Exception):
    """The run cannot start as asked; the text says why."""


class Plan(NamedTuple):
    """A run in all its details."""

    app_id: str
    app_port: int
    http_port: int
    grpc_port: int
    socket_directory: str
    sidecar_command: list[str]
    app_command: list[str]
    app_environment: dict[str, str]

    def socket(self, protocol: str) -> str:
        if not self.socket_directory:
            return ""
        return address.socket_path(self.socket_directory, self.app_id, protocol)

    def where(self) -> str:
        """The addresses as status lines show them."""
        if self.socket_directory:
            return f"HTTP Socket: {self.socket('http')}. gRPC Socket: {self.socket('grpc')}."
        return f"HTTP Port: {self.http_port}. gRPC Port: {self.grpc_port}"

    def http_address(self) -> address.Address:
        return address.Address(self.http_port, self.socket("http"))


Local = Callable[[str], str]
"""The address of a service of the user's own control plane, by the name of the flag; empty where there is none."""


def make(
    values: grammar.Values,
    command: Sequence[str],
    running: Sequence[sidecars.Sidecar],
    reservation: ports.Reservation,
    local: Local = lambda _: "",
) -> Plan:
    """Decide everything. Raises `Refused`."""
    app_id = _app_id(values.text("app-id"), {sidecar.app_id for sidecar in running})
    resources = _resources(values)
    choose = _PortChooser(values, running, reservation)
    http, grpc = choose("dapr-http-port", "HTTPPort"), choose("dapr-grpc-port", "GRPCPort")
    metrics = choose("metrics-port", "MetricsPort")
    internal = choose("dapr-internal-grpc-port", "InternalGRPCPort")
    flags = ["--app-id", app_id, "--dapr-http-port", str(http), "--dapr-grpc-port", str(grpc)]
    flags += ["--metrics-port", str(metrics), "--dapr-internal-grpc-port", str(internal)]
    if values.switch("enable-profiling"):
        flags += ["--enable-profiling", "--profile-port", str(choose("profile-port", "ProfilePort"))]
    configuration = _configuration(values)
    flags += configuration
    for path in resources:
        flags += ["--resources-path", path]
    flags += _passed_on(values)
    # Under mTLS sidecars talk to a control plane that has certificates; the user's own has none.
    own = (lambda _: "") if "--enable-mtls" in configuration else local
    flags += _control_plane(values, "placement-host-address", _PLACEMENT_PORT, own)
    flags += _control_plane(values, "scheduler-host-address", _SCHEDULER_PORT, own)
    return Plan(
        app_id=app_id,
        app_port=max(values.number("app-port"), 0),
        http_port=http,
        grpc_port=grpc,
        socket_directory=values.text("unix-domain-socket"),
        sidecar_command=[*home.daprd(values), *flags],
        app_command=list(command),
        app_environment=_environment(values, app_id, http, grpc, metrics),
    )


def _app_id(given: str, taken: Container[str]) -> str:
    if not given:
        import random

        return names.app_id(taken, random.choice)
    return given  # several instances of one app are welcome: calls are shared between them


class _PortChooser:
    """A given port if it is free, else one that is."""

    def __init__(
        self,
        values: grammar.Values,
        running: Sequence[sidecars.Sidecar],
        reservation: ports.Reservation,
    ) -> None:
        self._values, self._reservation = values, reservation
        self._taken = {port for one in running for port in (one.app_port, one.http_port, one.grpc_port)}

    def __call__(self, flag: str, title: str) -> int:
        port = self._values.number(flag)
        if port <= 0:
            return self._reservation.take()
        if port in self._taken or not ports.is_free(port):
            raise Refused(f"invalid configuration for {title}. Port {port} is not available")
        self._taken.add(port)
        return port


def _resources(values: grammar.Values) -> list[str]:
    given = values.many("resources-path") or [path for path in [values.text("components-path")] if path]
    for path in given:
        if not Path(path).exists():
            shown = " ".join(grammar.quote(one) for one in given)
            raise Refused(f"error validating resources path [{shown}] : stat {path}: no such file or directory")
    directory = home.directory(values)
    return given or home.default_resources(directory) or embedded.resources(directory)


def _configuration(values: grammar.Values) -> list[str]:
    path = values.text("config") or home.default_config(home.directory(values))
    if not path:
        return []
    mtls = ["--enable-mtls", "--sentry-address", _SENTRY_ADDRESS] if _wants_mtls(path) else []
    return ["--config", path, *mtls]


def _wants_mtls(path: str) -> bool:
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    if "mtls" not in text:
        return False
    import yaml

    try:
        return any(bool(one["spec"]["mtls"]["enabled"]) for one in yaml.safe_load_all(text) if one)
    except (yaml.YAMLError, KeyError, TypeError):
        return False


def _passed_on(values: grammar.Values) -> list[str]:
    """Flags that the sidecar knows by the same name; what is the sidecar's default anyway is left out."""
    flags = ["--app-protocol", values.text("app-protocol"), "--log-level", values.text("log-level")]
    flags += ["--max-body-size", _quantity(values.text("max-body-size"), "max request body size")]
    flags += ["--read-buffer-size", _quantity(values.text("read-buffer-size"), "http read buffer size")]
    for name in (
        "app-port",
        "app-max-concurrency",
        "app-health-probe-interval",
        "app-health-probe-timeout",
        "app-health-threshold",
    ):
        if values.number(name) > 0:
            flags += [f"--{name}", str(values.number(name))]
    for name in ("unix-domain-socket", "app-health-check-path", "dapr-listen-addresses"):
        if values.text(name):
            flags += [f"--{name}", values.text(name)]
    if values.text("app-channel-address") not in ("", _DEFAULT_APP_CHANNEL):
        flags += ["--app-channel-address", values.text("app-channel-address")]
    flags += [
        f"--{name}" for name in ("app-ssl", "enable-app-health-check", "enable-api-logging") if values.switch(name)
    ]
    return [*flags, "--log-as-json"] if status.is_json() else flags


def _quantity(text: str, what: str) -> str:
    if not _QUANTITY.fullmatch(text):
        raise Refused(f"invalid {what}: {_NO_QUANTITY}")
    return "-1" if text.startswith("-") else text


def _control_plane(values: grammar.Values, name: str, port: int, local: Local) -> list[str]:
    """An address of the control plane: as asked for, where empty means none, else that of the user's own."""
    variable = f"DAPR_{name.upper().replace('-', '_')}"
    if values.is_given(name) or variable in os.environ:
        text = values.text(name) if values.is_given(name) else os.environ[variable]
        host = text.strip()
        address = host if not host or ":" in host else f"{host}:{port}"
    else:
        address = local(name)
    return [f"--{name}", address] if address else []


def _environment(values: grammar.Values, app_id: str, http: int, grpc: int, metrics: int) -> dict[str, str]:
    added = {
        "APP_ID": app_id,
        "APP_CHANNEL_ADDRESS": values.text("app-channel-address"),
        "DAPR_HTTP_PORT": str(http),
        "DAPR_GRPC_PORT": str(grpc),
        "DAPR_METRICS_PORT": str(metrics),
    }
    if values.number("app-port") > 0:
        added["APP_PORT"] = str(values.number("app-port"))
    protocol = _app_protocol(values)
    if protocol:
        added["APP_PROTOCOL"] = protocol
    # A Python app whose output is a pipe keeps it back until it ends, and seems dead.
    return {"PYTHONUNBUFFERED": "1", **os.environ, **added}


def _app_protocol(values: grammar.Values) -> str:
    protocol = values.text("app-protocol").lower() or "http"
    if protocol in ("http", "grpc") and values.switch("app-ssl"):
        return f"{protocol}s"
    return protocol if protocol in ("http", "https", "h2c", "grpc", "grpcs") else ""
