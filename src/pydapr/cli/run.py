"""`dapr run`: a sidecar and, beside it, an app; both end together.

`plan.py` decides what to start, `launch.py` starts it in groups that cannot outlive us, `session.py` does the
rest from there to the exit code. With `--run-file` it is several apps, and `crew.py` does it.
"""

import os
import shutil
from contextlib import closing

from pydapr.cli import grammar, home, launch, plan, plane, ports, session, sidecars, startlock, status, usage
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
        "<hostname>:<port> for custom port. Without it one of your own is used, which is started if need be; "
        "an empty one switches actors off",
    ),
    grammar.Flag(
        "scheduler-host-address",
        "The address of the scheduler service. Format is either <hostname> for default port or "
        "<hostname>:<port> for custom port. Without it one of your own is used, which is started if need be; "
        "an empty one switches jobs and reminders off",
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

# Run the apps of a file, or of the dapr.yaml in a directory
dapr run --run-file dapr.yaml
dapr run --run-file .

# Run the apps of a file that another program writes
envsubst < dapr.template.yaml | dapr run --run-file -
"""


_WITH_RUN_FILE = frozenset({"run-file", "kubernetes", "help", "runtime-path", "log-as-json"})
"""Flags that mean something beside a file of apps."""


def run(values: grammar.Values, command: list[str]) -> int:
    if values.switch("kubernetes"):
        status.failure("dapr run --kubernetes is not available. Apply your own manifests with kubectl instead")
        return 1
    if values.text("run-file"):
        return _run_file(values)
    if not command:
        status.plain("WARNING: no application command found.")
    elif reason := _cannot_find(command[0]):
        status.failure(f"Failed to find command {command[0]}: {reason}")
        return 1
    if values.text("unix-domain-socket"):
        status.warning("Unix domain sockets are currently a preview feature")
    signals = Signals()
    control_plane = plane.Plane(home.directory(values))
    with closing(ports.Reservation()) as reservation, closing(control_plane):
        try:
            with startlock.held():
                planned = plan.make(values, command, sidecars.find(), reservation, control_plane.address)
                _announce(planned)
                reservation.make_way()
                launcher = launch.Launcher()
                sidecar = launcher.start(planned.sidecar_command, stdin=launch.NO_INPUT)
                control_plane.start()
        except (plan.Refused, OSError) as wrong:
            status.failure(str(wrong))
            return 1
        with closing(launcher):
            return session.Session(planned, launcher, sidecar, signals, control_plane).run()


def _run_file(values: grammar.Values) -> int:
    from pydapr.cli import crew, template

    ignored = [name for name in values.given() if name not in _WITH_RUN_FILE]
    if ignored:
        status.warning(
            "The following flags are ignored when using --run-file and should be configured in the run file instead: "
            + ", ".join(ignored)
        )
    try:
        file = template.locate(values.text("run-file"))
    except template.Wrong as wrong:
        status.failure(f"Failed to get run file path: {wrong}")
        return 1
    try:
        read = template.read(file, (*FLAGS, *usage.GLOBAL), values.text("runtime-path"))
    except template.Wrong as wrong:
        status.failure(f"Error getting apps from config file: {wrong}")
        return 1
    if not read.apps:
        status.failure("No apps to run")
        return 1
    if read.unknown:
        status.warning(f"Fields of the run file that have no meaning: {', '.join(read.unknown)}")
    return crew.Crew(file, read, Signals()).run()


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
    status.info(f"Starting Dapr with id {planned.app_id}. {planned.where()}")
