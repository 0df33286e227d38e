"""A real etcd as our child, for schedulers that are several members of one cluster: as the original's embedded one.

Started by `storage` when `--etcd-initial-cluster` names several members, or when the data directory is one of etcd's.
The executable is the `etcd` on the PATH; the original's flags become its own. It never outlives us, however we end.
"""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Sequence

from pydapr.controlplane.process import Fatal
from pydapr.lib import tied
from pydapr.lib.record import Record
from pydapr.observe import logging

log = logging.get("dapr.scheduler.server.etcd")

START_SECONDS = 5.0
"""Within this time after our start an etcd that ends is started again: the one before us may be about to end, and has
the ports until then."""

STOP_SECONDS = 5.0
"""How long it may take to end by itself."""

HELP_SECONDS = 10.0

_SEVERE = ("error", "dpanic", "panic", "fatal")

MARKER = "dapr-scheduler-existing-cluster"
"""The original deletes what is in a data directory of etcd unless this file says that it may stay."""


class Options(Record):
    """What etcd is told; names as of its flags."""

    name: str
    folder: str
    """What holds its data."""
    marker_folder: str
    initial_cluster: Sequence[str]
    peer_url: str
    listen_on_all: bool
    """Whether the peers' port listens on all interfaces rather than on the address of its URL."""
    client_url: str
    settings: Sequence[tuple[str, str]]
    """Further flags with values."""
    optional: Sequence[tuple[str, str]] = ()
    """Those that not every etcd knows."""
    identity_folder: str = ""
    """With key.pem, cert.pem and ca.pem, by which peers know each other."""


def find() -> str | None:
    """The path of the executable."""
    return shutil.which("etcd")


def has_data(folder: str) -> bool:
    """Whether a folder holds the data of an etcd."""
    return os.path.isdir(os.path.join(folder, "member"))


class Etcd:
    """One etcd, from `start` to `stop`."""

    def __init__(self, executable: str, options: Options) -> None:
        self._executable = executable
        self._options = options
        self.complaint = ""
        """What it has complained about last."""

    async def run(self) -> None:
        """Runs it until this is cancelled. Raises `Fatal` when it ends by itself."""
        arguments = self._arguments(await self._help())
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while True:
            code = await self._once(arguments)
            if asyncio.get_running_loop().time() >= deadline:
                raise Fatal(f"etcd has ended with code {code}: {self.complaint or 'it gave no reason'}")
            await asyncio.sleep(0.2)

    async def _once(self, arguments: Sequence[str]) -> int:
        """The code that it ends with."""
        self._prepare()
        log.info(f"Starting etcd: {self._executable}")
        process = await asyncio.create_subprocess_exec(
            self._executable,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # a Ctrl+C is for us, who end it in our time
            preexec_fn=tied.dying_with_us(signal.SIGKILL),
        )
        try:
            assert process.stdout is not None
            while line := await _line(process.stdout):
                self._hear(line)
            return await process.wait()
        finally:
            await _end(process)

    def _hear(self, line: str) -> None:
        try:
            said = json.loads(line)
            is_severe = said["level"] in _SEVERE
            text = ": ".join(str(said[name]) for name in ("msg", "error") if name in said)
        except (ValueError, TypeError, KeyError):  # not of its log, and so from before there was one, or a panic
            is_severe, text = not line.startswith("{"), line
        if is_severe:
            self.complaint = text if not text.startswith("goroutine ") else self.complaint
            log.error(f"etcd: {text}")
        else:
            log.debug(f"etcd: {line}")

    async def _help(self) -> str:
        """What it says about its flags. Raises `Fatal`."""
        try:
            process = await asyncio.create_subprocess_exec(
                self._executable,
                "--help",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                preexec_fn=tied.dying_with_us(signal.SIGKILL),
            )
            async with asyncio.timeout(HELP_SECONDS):
                out, _ = await process.communicate()
        except (OSError, TimeoutError) as error:
            raise Fatal(f"cannot run {self._executable}: {error or 'it does not answer'}") from None
        return out.decode("utf-8", "replace")

    def _prepare(self) -> None:
        """Raises `Fatal`."""
        options = self._options
        try:
            os.makedirs(options.folder, mode=0o700, exist_ok=True)
            os.close(os.open(os.path.join(options.marker_folder, MARKER), os.O_WRONLY | os.O_CREAT, 0o600))
        except OSError as error:
            raise Fatal(f"cannot use {options.folder}: {(error.strerror or str(error)).lower()}") from None

    def _arguments(self, known: str) -> list[str]:
        """Its command line, of flags that are known."""
        options = self._options
        listen = options.peer_url
        if options.listen_on_all:
            scheme, _, rest = listen.partition("://")
            listen = f"{scheme}://0.0.0.0:{rest.rpartition(':')[2]}"
        given = [
            ("name", options.name),
            ("data-dir", options.folder),
            ("initial-cluster", ",".join(options.initial_cluster)),
            ("initial-cluster-state", "new"),
            ("initial-advertise-peer-urls", options.peer_url),
            ("listen-peer-urls", listen),
            ("listen-client-urls", options.client_url),
            ("advertise-client-urls", options.client_url),
            ("logger", "zap"),
            *options.settings,
            *(one for one in options.optional if f"--{one[0]} " in known),
        ]
        if options.identity_folder:
            given += self._identity()
        return [f"--{name}={value}" for name, value in given]

    def _identity(self) -> list[tuple[str, str]]:
        """Flags by which peers show who they are, and let none in but schedulers. Raises `Fatal`."""
        folder = self._options.identity_folder
        return [
            ("peer-cert-file", os.path.join(folder, "cert.pem")),
            ("peer-key-file", os.path.join(folder, "key.pem")),
            ("peer-trusted-ca-file", os.path.join(folder, "ca.pem")),
            ("peer-client-cert-auth", "true"),
            ("peer-cert-allowed-hostname", _scheduler_name(os.path.join(folder, "cert.pem"))),
        ]


def _scheduler_name(file: str) -> str:
    """The host name that all schedulers' certificates have in common, and no other's: the first in our own.

    Raises `Fatal`."""
    from cryptography import x509

    try:
        with open(file, "rb") as opened:
            shown = x509.load_pem_x509_certificate(opened.read())
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.DNSName)[0]
    except (OSError, ValueError, IndexError, x509.ExtensionNotFound) as error:
        raise Fatal(f"{file} names no host by which the peers of etcd know a scheduler: {error}") from None


async def _line(stream: asyncio.StreamReader) -> str:
    """The next line that says something, or what there is of one; empty at the end."""
    while True:
        try:
            data = await stream.readline()
        except ValueError:  # longer than the reader keeps; the rest comes with the next
            continue
        text = data.decode("utf-8", "replace").strip()
        if text or not data:
            return text


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends it, by force if need be."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        try:
            process.send_signal(number)
        except ProcessLookupError:
            return
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            continue
