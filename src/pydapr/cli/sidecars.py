"""The sidecars that run on this machine, ours and the original's, whoever started them.

`find` reads command lines only; `describe` also asks each sidecar for what the command line noted in its
metadata. `list_.py`, `stop.py`, `invoke.py` and `plan.py` start here.
"""

from collections.abc import Iterable
from typing import NamedTuple

from pydapr.cli import processes

_DEFAULT_HTTP_PORT = 3500
_DEFAULT_GRPC_PORT = 50001
_METADATA_TIMEOUT = 1.0
"""Seconds one sidecar may take to answer; all are asked at the same time."""


class Sidecar(NamedTuple):
    """A sidecar as its command line shows it."""

    pid: int
    app_id: str
    http_port: int
    grpc_port: int
    app_port: int
    metrics_enabled: bool
    max_body_size: int
    read_buffer_size: int
    socket_directory: str
    started: float


class Described(NamedTuple):
    """A sidecar with what its metadata tells about the run; zero and empty when it does not answer."""

    sidecar: Sidecar
    cli_pid: int = 0
    app_pid: int = 0
    command: str = ""
    extended: dict[str, str] = {}  # noqa: RUF012 (never changed)


def find() -> list[Sidecar]:
    """Running sidecars, oldest first."""
    found = (from_process(process) for process in processes.running())
    return sorted((one for one in found if one is not None), key=lambda one: (one.started, one.pid))


def from_process(process: processes.Process) -> Sidecar | None:
    arguments = processes.sidecar_arguments(process.arguments)
    if arguments is None:
        return None
    flags = read_flags(arguments)
    if not flags.get("app-id"):
        return None
    return Sidecar(
        pid=process.pid,
        app_id=flags["app-id"],
        http_port=_number(flags, "dapr-http-port", _DEFAULT_HTTP_PORT),
        grpc_port=_number(flags, "dapr-grpc-port", _DEFAULT_GRPC_PORT),
        app_port=_number(flags, "app-port", 0),
        metrics_enabled=flags.get("enable-metrics", "") not in ("false", "False", "FALSE", "f", "F", "0"),
        max_body_size=_size(flags.get("max-body-size", ""), 4 << 20),
        read_buffer_size=_size(flags.get("read-buffer-size", ""), 4 << 10),
        socket_directory=flags.get("unix-domain-socket", ""),
        started=process.started,
    )


def read_flags(arguments: Iterable[str]) -> dict[str, str]:
    """`--name=value`, `--name value`, `--switch` → values by name; the last one wins."""
    flags: dict[str, str] = {}
    name = ""
    for argument in arguments:
        if argument.startswith("-"):
            name, has_value, value = argument.lstrip("-").partition("=")
            flags[name] = value
            if has_value:
                name = ""
        elif name:
            flags[name] = argument
            name = ""
    return flags


def _number(flags: dict[str, str], name: str, default: int) -> int:
    try:
        return int(flags.get(name, ""))
    except ValueError:
        return default


_UNITS = {"": 1, "K": 10**3, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


def _size(text: str, default: int) -> int:
    digits = text.rstrip("KkMGi")
    try:
        return int(float(digits) * _UNITS[text[len(digits) :]])
    except (ValueError, KeyError):
        return default


def describe(sidecars: list[Sidecar]) -> list[Described]:
    """Ask all sidecars at once; one that hangs costs a second, not the others' answers."""
    from threading import Thread

    answers: dict[int, Described] = {}

    def ask(sidecar: Sidecar) -> None:
        answers[sidecar.pid] = _describe(sidecar)

    asking = [Thread(target=ask, args=(sidecar,), daemon=True) for sidecar in sidecars]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(2 * _METADATA_TIMEOUT)
    return [answers.get(sidecar.pid, Described(sidecar)) for sidecar in sidecars]


def _describe(sidecar: Sidecar) -> Described:
    import json

    from pydapr.cli import address, sidecar_api

    path = ""
    if sidecar.socket_directory:
        path = address.socket_path(sidecar.socket_directory, sidecar.app_id, "http")
    try:
        where = address.Address(sidecar.http_port, path)
        answer = sidecar_api.request(where, "GET", "/v1.0/metadata", timeout=_METADATA_TIMEOUT)
        told = json.loads(answer.body)
        # The port may belong to somebody else by now: believe only who has the right name.
        if told.get("id", sidecar.app_id) != sidecar.app_id:
            return Described(sidecar)
        extended = {str(key): str(value) for key, value in (told.get("extended") or {}).items()}
    except (OSError, ValueError, AttributeError):
        return Described(sidecar)
    return Described(
        sidecar,
        cli_pid=_number(extended, "cliPID", 0),
        app_pid=_number(extended, "appPID", 0),
        command=extended.get("appCommand", ""),
        extended=extended,
    )
