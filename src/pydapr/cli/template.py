"""The multi-app run template (`dapr.yaml`): a file that names several apps, and what each runs with.

`read` turns it into `App`s whose `values` are as if each had been given to `dapr run` alone, so that `plan.py`
makes the plan of either. What is said for all apps (`common`) is merged into each: an app's own value wins, maps of
environment variables are joined, relative paths start at the file for `common` and at the app's directory for an
app. Errors carry Dapr's words where it has some. `crew.py` runs the apps, `stop.py` finds the file again.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydapr.cli import grammar

FILE_NAME = "dapr.yaml"
"""The file that is looked for when a directory is given."""

STDIN = "-"

_PATHS = {"configFilePath": "config", "runtimePath": "runtime-path"}
_SHARED = {
    "appProtocol": "app-protocol",
    "apiListenAddresses": "dapr-listen-addresses",
    "enableProfiling": "enable-profiling",
    "logLevel": "log-level",
    "appMaxConcurrency": "app-max-concurrency",
    "placementHostAddress": "placement-host-address",
    "schedulerHostAddress": "scheduler-host-address",
    "appSSL": "app-ssl",
    "maxBodySize": "max-body-size",
    "readBufferSize": "read-buffer-size",
    "enableAppHealthCheck": "enable-app-health-check",
    "appHealthCheckPath": "app-health-check-path",
    "appHealthProbeInterval": "app-health-probe-interval",
    "appHealthProbeTimeout": "app-health-probe-timeout",
    "appHealthThreshold": "app-health-threshold",
    "enableApiLogging": "enable-api-logging",
}
"""Fields of `common` and of apps, and the flag of `dapr run` that means the same."""

_OWN = {
    "appID": "app-id",
    "appChannelAddress": "app-channel-address",
    "appPort": "app-port",
    "daprHTTPPort": "dapr-http-port",
    "daprGRPCPort": "dapr-grpc-port",
    "daprInternalGRPCPort": "dapr-internal-grpc-port",
    "metricsPort": "metrics-port",
    "profilePort": "profile-port",
    "unixDomainSocket": "unix-domain-socket",
}
"""Fields that only an app has."""

_OTHER_SHARED = {"resourcesPath", "resourcesPaths", "env", "daprdLogDestination", "appLogDestination"}
_OTHER_OWN = {"appDirPath", "command", "containerImage", "containerImagePullPolicy", "createService"}
_KNOWN_SHARED = {*_PATHS, *_SHARED, *_OTHER_SHARED}
_KNOWN_OWN = {*_KNOWN_SHARED, *_OWN, *_OTHER_OWN}

_EMPTY_MEANS_OFF = {"placementHostAddress", "schedulerHostAddress"}
"""Where an empty text of an app says something, and is not filled from `common`."""

_SWITCHES = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
"""Other words that YAML has for true and false."""

_ZERO = ("", "0", "false", "False", "FALSE")

_DESTINATIONS = ("file", "console", "fileAndConsole")
_PULL_POLICIES = ("Always", "Never", "IfNotPresent")

Section = dict[str, Any]
"""Fields as the file has them: texts, lists of texts, maps of texts."""


class Wrong(Exception):
    """The file cannot be used; the text says why."""


class App(NamedTuple):
    """One app of the file."""

    app_id: str
    directory: str
    values: grammar.Values
    command: list[str]
    environment: dict[str, str]
    app_log: str
    sidecar_log: str


class Template(NamedTuple):
    """The file; `unknown` lists fields that mean nothing, each with its place."""

    name: str
    apps: list[App]
    unknown: list[str]


def locate(path: str) -> str:
    """The file that `--run-file` means: itself, standard input, or `dapr.yaml` in a directory. Raises `Wrong`."""
    if path == STDIN:
        return path
    if os.path.isdir(path):
        path = os.path.join(path, FILE_NAME)
    elif not path.endswith((".yaml", ".yml")) and os.path.exists(path):
        raise Wrong(f"file {grammar.quote(path)} is not a YAML file")
    _must_exist(path)
    return path


def read(path: str, flags: Sequence[grammar.Flag], runtime_path: str = "") -> Template:
    """Read a located file. Raises `Wrong`."""
    try:
        text = sys.stdin.read() if path == STDIN else _text(path)
    except (OSError, UnicodeDecodeError) as wrong:
        raise Wrong(f"error in reading the run template file: {wrong}") from None
    return parse(text, os.path.dirname(os.path.abspath(path)), flags, runtime_path)


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def parse(text: str, base: str, flags: Sequence[grammar.Flag], runtime_path: str = "") -> Template:
    """The template in a text, with relative paths starting at `base`. Raises `Wrong`."""
    whole = _section(_load(text), "the run template file")
    if _scalar(whole, "version") in _ZERO:
        raise Wrong("required field 'version' not found in the provided run template file")
    common = _section(whole.get("common") or {}, "common")
    sections = whole.get("apps") or []
    if not isinstance(sections, list):
        raise _unfit("apps is no list")
    unknown = [name for name in whole if name not in ("version", "name", "common", "apps")]
    unknown += [f"common.{name}" for name in common if name not in _KNOWN_SHARED]
    common = _with_paths(common, base)
    apps = []
    for at, given in enumerate(sections):
        section = _section(given, f"apps[{at}]")
        unknown += [f"apps[{at}].{name}" for name in section if name not in _KNOWN_OWN]
        apps.append(_app(section, common, base, flags, runtime_path))
    return Template(_scalar(whole, "name"), apps, unknown)


def _app(section: Section, common: Section, base: str, flags: Sequence[grammar.Flag], runtime_path: str) -> App:
    if not _scalar(section, "appDirPath"):
        raise Wrong("required field 'appDirPath' not found in the provided app config file")
    directory = _absolute(_scalar(section, "appDirPath"), base)
    _must_exist(directory)
    policy = _scalar(section, "containerImagePullPolicy")
    if policy and policy not in _PULL_POLICIES:
        allowed = ", ".join(_PULL_POLICIES)
        raise Wrong(f"invalid containerImagePullPolicy: {policy}, allowed values: {allowed}")
    section = _with_paths(section, directory)
    environment = _texts(common, "env") | _texts(section, "env")
    _take_local(section, directory)
    merged = common | {
        name: value for name, value in section.items() if value not in (*_ZERO, [], {}) or name in _EMPTY_MEANS_OFF
    }
    app_id = _scalar(merged, "appID") or os.path.basename(directory)
    if _scalar(merged, "unixDomainSocket"):
        merged["unixDomainSocket"] = _absolute(merged["unixDomainSocket"], directory)
    return App(
        app_id=app_id,
        directory=directory,
        values=_values(merged | {"appID": app_id}, flags, runtime_path),
        command=_list(merged, "command"),
        environment=environment,
        app_log=_destination(merged, "appLogDestination", "fileAndConsole"),
        sidecar_log=_destination(merged, "daprdLogDestination", "file"),
    )


def _take_local(section: Section, directory: str) -> None:
    """What lies in the app's own `.dapr` folder wins over `common`, and loses against the app's own fields."""
    local = os.path.join(directory, ".dapr")
    if not section.get("resourcesPaths") and os.path.exists(os.path.join(local, "resources")):
        section["resourcesPaths"] = [os.path.join(local, "resources")]
    if not section.get("configFilePath") and os.path.exists(os.path.join(local, "config.yaml")):
        section["configFilePath"] = os.path.join(local, "config.yaml")


def _with_paths(section: Section, base: str) -> Section:
    """Paths made absolute and looked at; `resourcesPath`, the older field, joins `resourcesPaths`."""
    made = {name: value for name, value in section.items() if name != "resourcesPath"}
    for name in _PATHS:
        if _scalar(section, name):
            made[name] = _absolute(section[name], base)
            _must_exist(made[name])
    resources = [*_list(section, "resourcesPaths"), *filter(None, [_scalar(section, "resourcesPath")])]
    made["resourcesPaths"] = [_absolute(path, base) for path in resources]
    for path in made["resourcesPaths"]:
        _must_exist(path)
    return made


def _values(section: Section, flags: Sequence[grammar.Flag], runtime_path: str) -> grammar.Values:
    by_name = {flag.name: flag for flag in flags}
    values = grammar.Values(flags)
    if runtime_path:
        values.give(by_name["runtime-path"], runtime_path)
    for field, name in (*_PATHS.items(), *_SHARED.items(), *_OWN.items()):
        text = _scalar(section, field)
        if not text and field not in _EMPTY_MEANS_OFF & section.keys():
            continue
        kind = by_name[name].kind
        try:
            values.give(by_name[name], _SWITCHES.get(text.lower(), text) if kind == "bool" else text)
        except grammar.Invalid:
            fitting = "a whole number" if kind == "int" else "true or false"
            raise _unfit(f"{field} is {grammar.quote(text)}, not {fitting}") from None
    for path in section["resourcesPaths"]:
        quoted = path.replace('"', '""')
        values.give(by_name["resources-path"], f'"{quoted}"')
    return values


def _destination(section: Section, field: str, default: str) -> str:
    destination = _scalar(section, field) or default
    if destination not in _DESTINATIONS:
        raise Wrong(f"invalid log destination type: {destination}")
    return destination


# -- what the file may hold --


def _load(text: str) -> object:
    import yaml

    class Loader(yaml.SafeLoader):
        """Scalars stay the texts they are: an app id may be 007, a variable's value `yes`."""

        yaml_implicit_resolvers = {"<": yaml.SafeLoader.yaml_implicit_resolvers["<"]}  # noqa: RUF012

    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as wrong:
        raise _unfit(" ".join(str(wrong).split())) from None


def _unfit(text: str) -> Wrong:
    return Wrong(f"error in parsing the provided app config file: {text}")


def _section(value: object, what: str) -> Section:
    if not isinstance(value, Mapping):
        raise _unfit(f"{what} is no map of fields")
    return {str(name): held for name, held in value.items()}


def _scalar(section: Section, field: str) -> str:
    value = section.get(field, "")
    if isinstance(value, list | dict):
        raise _unfit(f"{field} is no single value")
    return "" if value is None else str(value)


def _list(section: Section, field: str) -> list[str]:
    value = section.get(field) or []
    if not isinstance(value, list) or any(isinstance(one, list | dict) for one in value):
        raise _unfit(f"{field} is no list of texts")
    return [str(one) for one in value]


def _texts(section: Section, field: str) -> dict[str, str]:
    value = section.get(field) or {}
    if not isinstance(value, dict) or any(isinstance(one, list | dict) for one in value.values()):
        raise _unfit(f"{field} is no map of texts")
    return {str(name): "" if one is None else str(one) for name, one in value.items()}


def _absolute(path: str, base: str) -> str:
    return os.path.normpath(os.path.join(base, os.path.expanduser(path)))


def _must_exist(path: str) -> None:
    if not os.path.exists(path):
        raise Wrong(f"error in getting the file info for {path}: stat {path}: no such file or directory")
