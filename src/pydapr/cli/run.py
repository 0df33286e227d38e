"""`dapr run`: a sidecar and, beside it, an app; both end together.

`plan.py` decides what to start, `launch.py` starts it in groups that cannot outlive us, `session.py` does the
rest from there to the exit code.
"""

import os
import shutil
from contextlib import closing

from pydapr.cli import grammar, launch, plan, ports, session, sidecars, startlock, status
from pydapr.cli.signals import Signals

FLAGS = (
    grammar.Flag("app-port", "The port your application is listening on", "p", "int", -1),
    grammar.Flag("app-id", "The id for your application, used for service discovery", "a"),
    grammar.Flag("config", "Dapr configuration file", "c"),
    grammar.Flag("dapr-http-port", "The HTTP port for Dapr to listen on", "H", "int", -1),
    grammar.Flag("dapr-grpc-port", "The gRPC port for Dapr to listen on", "G", "int", -1),
    grammar.Flag("dapr-internal-grpc-port", "The gRPC port for the Dapr internal API to listen on", "I", "int", -1),
    grammar.Flag("enable-profiling", "Enable pprof profiling via an HTTP endpoint", kind="bool"),
    grammar.Flag("profile-port", "The port for the profile server to listen on", kind="int", default=-1),
    grammar.Flag(
        "log-level",
        "The log verbosity. Valid values are: debug, info, warn, error, fatal, or panic",
        default="info",
    ),
    grammar.Flag(
        "app-max-concurrency",
        "The concurrency level of the application, otherwise is unlimited",
        kind="int",
        default=-1,
    ),
    grammar.Flag(
        "app-protocol",
        "The protocol (grpc, grpcs, http, https, h2c) Dapr uses to talk to the application",
        "P",
        default="http",
    ),
    grammar.Flag(
        "components-path",
        "The path for components directory",
        "d",
        deprecated="This flag is deprecated and will be removed in the future releases. "
        'Use "resources-path" flag instead',
    ),
    grammar.Flag("resources-path", "The path for resources directory", kind="strings"),
    grammar.Flag(
        "placement-host-address",
        "The address of the placement service. Format is either <hostname> for default port or "
        "<hostname>:<port> for custom port. Actors are off without it",
    ),
    grammar.Flag(
        "scheduler-host-address",
        "The address of the scheduler service. Format is either <hostname> for default port or "
        "<hostname>:<port> for custom port. Jobs and reminders are off without it",
    ),
    grammar.Flag(
        "app-ssl",
        "Enable https when Dapr invokes the application",
        kind="bool",
        deprecated="This flag is deprecated and will be removed in the future releases. "
        'Use "app-protocol" flag with https or grpcs values instead',
    ),
    grammar.Flag("metrics-port", "The port of metrics on dapr", "M", "int", -1),
    grammar.Flag("max-body-size", "Max size of request body in MB", default="4Mi"),
    grammar.Flag("read-buffer-size", "HTTP header read buffer in KB", default="4Ki"),
    grammar.Flag(
        "unix-domain-socket",
        "Path to a unix domain socket dir. If specified, Dapr API servers will use Unix Domain Sockets",
        "u",
    ),
    grammar.Flag(
        "enable-app-health-check",
        "Enable health checks for the application using the protocol defined with app-protocol",
        kind="bool",
    ),
    grammar.Flag("app-health-check-path", "Path used for health checks; HTTP only"),
    grammar.Flag(
        "app-health-probe-interval",
        "Interval to probe for the health of the app in seconds",
        kind="int",
        default=0,
    ),
    grammar.Flag("app-health-probe-timeout", "Timeout for app health probes in milliseconds", kind="int", default=0),
    grammar.Flag(
        "app-health-threshold",
        "Number of consecutive failures for the app to be considered unhealthy",
        kind="int",
        default=0,
    ),
    grammar.Flag(
        "enable-api-logging",
        "Log API calls at INFO verbosity. Valid values are: true or false",
        kind="bool",
    ),
    grammar.Flag(
        "kubernetes",
        "Run the multi-app run template against Kubernetes environment.",
        "k",
        "bool",
    ),
    grammar.Flag("dapr-listen-addresses", "Comma separated list of IP addresses that sidecar will listen to"),
    grammar.Flag("run-file", "Path to the run template file for the list of apps to run", "f"),
    grammar.Flag("app-channel-address", "The network address the application listens on", default="127.0.0.1"),
)

EXAMPLE = """\
# Run an app that listens on port 5000
dapr run --app-id orders --app-port 5000 -- python orders.py

# Run an app that only calls others
dapr run --app-id checkout -- node checkout.js

# Run a gRPC app
dapr run --app-id billing --app-port 3000 --app-protocol grpc -- go run .

# Run only the sidecar, with resources of its own
dapr run --app-id tool --dapr-http-port 3500 --resources-path ./resources
"""


def run(values: grammar.Values, command: list[str]) -> int:
    not_yet = _not_yet(values)
    if not_yet:
        status.failure(not_yet)
        return 1
    if not command:
        status.plain("WARNING: no application command found.")
    elif reason := _cannot_find(command[0]):
        status.failure(f"Failed to find command {command[0]}: {reason}")
        return 1
    if values.text("unix-domain-socket"):
        status.warning("Unix domain sockets are currently a preview feature")
    signals = Signals()
    with closing(ports.Reservation()) as reservation:
        try:
            with startlock.held():
                planned = plan.make(values, command, sidecars.find(), reservation)
                _announce(planned)
                reservation.make_way()
                launcher = launch.Launcher()
                sidecar = launcher.start(planned.sidecar_command, stdin=launch.NO_INPUT)
        except (plan.Refused, OSError) as wrong:
            status.failure(str(wrong))
            return 1
        with closing(launcher):
            return session.Session(planned, launcher, sidecar, signals).run()


def _not_yet(values: grammar.Values) -> str:
    if values.is_given("run-file"):
        return (
            "dapr run --run-file is not available yet. Start each app of the file in a terminal of its own: "
            "dapr run --app-id <appID> --app-port <appPort> -- <command>"
        )
    if values.switch("kubernetes"):
        return "dapr run --kubernetes is not available yet. Apply your own manifests with kubectl instead"
    return ""


def _cannot_find(command: str) -> str:
    if shutil.which(command):
        return ""
    quoted = grammar.quote(command)
    if "/" not in command:
        return f"exec: {quoted}: executable file not found in $PATH"
    if os.path.exists(command):
        return f"exec: {quoted}: permission denied"
    return f"exec: {quoted}: stat {command}: no such file or directory"


def _announce(planned: plan.Plan) -> None:
    if planned.socket_directory:
        where = f"HTTP Socket: {planned.socket('http')}. gRPC Socket: {planned.socket('grpc')}."
    else:
        where = f"HTTP Port: {planned.http_port}. gRPC Port: {planned.grpc_port}"
    status.info(f"Starting Dapr with id {planned.app_id}. {where}")
