"""WebAssembly modules of users: where they come from, what WASI they see, and how long they may run.

Home of `wasmtime` (an extra). Guests run in threads. The code of a guest is stopped when an epoch passes, so that one
that loops forever holds nothing but its thread, and that for `SECONDS` at most.

Of WASI (preview 1) a guest gets clocks, random numbers and two outputs; no files, no arguments, no environment.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from pydapr.components.drivers import thread
from pydapr.net import http

if TYPE_CHECKING:
    import wasmtime

    T = TypeVar("T")

SECONDS = 10.0
"""How long a guest may run at a time; what it waits for bytes of a body does not count."""

TICK = 0.25
THREADS = 32
MAX_GUEST = 256 * 1024 * 1024
MAX_OUTPUT = 64 * 1024
"""Bytes kept of what a guest writes to one of its outputs while it is called."""

_WASI = "wasi_snapshot_preview1"
_BADF, _SUCCESS = 8, 0


class GuestFailed(Exception):
    """The guest trapped, was stopped, or did what no guest may."""


async def fetch(url: str) -> bytes:
    """The module at `url` (file, http or https). Raises `OSError` or `ValueError`."""
    scheme, colon, _ = url.partition(":")
    if not colon:
        raise ValueError(f"invalid URL: {url}")
    if scheme == "file":
        guest = await thread.run(Path(url[len("file://") :]).read_bytes)
    elif scheme in ("http", "https"):
        answer = await http.request("GET", url, most=MAX_GUEST)
        if answer.status != 200:
            raise ValueError(f'received {answer.status} status code from "{url}"')
        guest = answer.body
    elif scheme == "oci":
        raise ValueError("images (oci) cannot be fetched: name a file or an http(s) URL")
    else:
        raise ValueError(f"unsupported URL scheme: {scheme}")
    if not guest.startswith(b"\0asm"):
        raise ValueError(f"{url} is no WebAssembly module")
    return guest


def name_of(url: str) -> str:
    """What a module is called after the file that it came from."""
    return urlsplit(url).path.rpartition("/")[2].removesuffix(".wasm")


class Guest:
    """One instance of a module, for one call at a time. `out` and `err` collect what it writes."""

    def __init__(self, runner: "Runner") -> None:
        import wasmtime

        self.store = wasmtime.Store(runner.engine)
        self.out, self.err = bytearray(), bytearray()
        self.error: Exception | None = None
        """Why a function of ours refused, which the library cannot tell reliably with several threads."""
        self.memory: wasmtime.Memory | None = None
        self._started = time.monotonic()
        self._random = random.Random(42)
        self._wall = int(time.time()) * 1_000_000_000
        self._mono = 0
        if runner.has_wasi:
            self.store.set_wasi(wasmtime.WasiConfig())
        self.renew()

    def renew(self) -> None:
        """Gives the guest its whole time again."""
        self.store.set_epoch_deadline(int(SECONDS / TICK) + 1)

    # -- memory --

    def read(self, at: int, size: int, what: str) -> bytes:
        if not size:
            return b""
        if self.memory is None or at + size > self.memory.data_len(self.store):
            raise GuestFailed(f"out of memory reading {what}")
        return bytes(self.memory.read(self.store, at, at + size))

    def write(self, at: int, data: bytes) -> None:
        if self.memory is None or at + len(data) > self.memory.data_len(self.store):
            raise GuestFailed("out of memory writing")
        self.memory.write(self.store, data, at)

    def number(self, at: int, size: int = 4) -> int:
        return int.from_bytes(self.read(at, size, "a number"), "little")

    # -- clocks and chance, for those who may not know the true ones --

    def strict_time(self, clock: int) -> int:
        if clock == 0:
            self._wall += 1_000_000
            return self._wall
        self._mono += 1_000_000
        return self._mono - 1_000_000

    def strict_random(self, size: int) -> bytes:
        return self._random.randbytes(size)


class Runner:
    """Runs the guests of one module in threads, and stops those that do not end."""

    def __init__(self, code: bytes, strict: bool) -> None:
        import wasmtime

        config = wasmtime.Config()
        config.epoch_interruption = True
        self.engine = wasmtime.Engine(config)
        try:
            self.module = wasmtime.Module(self.engine, code)
        except wasmtime.WasmtimeError as error:
            raise ValueError(f"error compiling guest: {_first_line(error)}") from None
        self.linker = wasmtime.Linker(self.engine)
        self.linker.allow_shadowing = True
        self.has_wasi = any(one.module == _WASI for one in self.module.imports)
        self.closing = threading.Event()
        self._running = threading.local()
        self._strict = strict
        self._threads = ThreadPoolExecutor(THREADS, "wasm")
        self._busy = 0
        self._is_ticking = False
        if self.has_wasi:
            self.linker.define_wasi()
            self._define_wasi()

    def define(self, module: str, name: str, params: int, result: str, function: Callable[..., int | None]) -> None:
        """A function for guests: `params` numbers of 32 bits, and a `result` of `i32`, `i64` or none ("").

        It is called with the guest that calls and with numbers without sign.
        """
        import wasmtime

        results = {"": [], "i32": [wasmtime.ValType.i32()], "i64": [wasmtime.ValType.i64()]}[result]
        kind = wasmtime.FuncType([wasmtime.ValType.i32()] * params, results)
        self._define(module, name, kind, function)

    def _define(self, module: str, name: str, kind: "wasmtime.FuncType", function: Callable[..., int | None]) -> None:
        import wasmtime

        running = self._running

        def call(caller: "wasmtime.Caller", *values: int) -> int | None:
            guest: Guest = running.guest
            if guest.memory is None:
                memory = caller.get("memory")
                guest.memory = memory if isinstance(memory, wasmtime.Memory) else None
            try:
                return function(guest, *(value & 0xFFFFFFFF for value in values))
            except Exception as error:
                guest.error = error
                raise

        self.linker.define_func(module, name, kind, call, access_caller=True)

    # -- running --

    def instantiate(self, guest: Guest) -> "wasmtime.Instance":
        """Starts a guest, in the thread of the caller. Raises `GuestFailed`."""
        import wasmtime

        instance = self.guarded(guest, lambda: self.linker.instantiate(guest.store, self.module))
        if instance is None:
            raise GuestFailed("the guest left before it was asked")
        exports = instance.exports(guest.store)
        memory = exports.get("memory")
        guest.memory = memory if isinstance(memory, wasmtime.Memory) else None
        for name in ("_start", "_initialize"):
            start = exports.get(name)
            if isinstance(start, wasmtime.Func):
                self.call(guest, start)
                break
        return instance

    def call(self, guest: Guest, function: "wasmtime.Func", *values: int) -> Any:
        """Calls into a guest, in the thread of the caller. Raises `GuestFailed`."""
        guest.renew()
        return self.guarded(guest, lambda: function(guest.store, *values))

    def guarded(self, guest: Guest, act: "Callable[[], T]") -> "T | None":
        """What `act` gives, None when the guest has left meanwhile, and well. Raises `GuestFailed`."""
        import wasmtime

        self._running.guest = guest
        guest.error = None
        try:
            return act()
        except wasmtime.ExitTrap as error:
            if error.code == 0:
                return None
            raise GuestFailed(f"the guest left with status {error.code}") from None
        except Exception as error:
            if isinstance(error, wasmtime.Trap) and error.trap_code is wasmtime.TrapCode.INTERRUPT:
                raise GuestFailed(f"the guest was stopped: it ran longer than {SECONDS:g} s") from None
            if guest.error is None and not isinstance(error, wasmtime.Trap | wasmtime.WasmtimeError):
                # With several threads the library may hand out what another guest's function has raised.
                raise GuestFailed("the guest trapped") from None
            raise GuestFailed(_first_line(guest.error or error)) from None
        finally:
            self._running.guest = None

    async def run(self, act: "Callable[..., T]", *values: Any) -> "T":
        """Runs `act` in a thread; who is cancelled leaves it there, to its end. Raises `GuestFailed`."""
        return await self.wait(self.start(act, *values))

    def start(self, act: "Callable[..., T]", *values: Any) -> "asyncio.Future[T]":
        """Runs `act` in a thread; `wait` waits for it. Raises `GuestFailed`."""
        if self.closing.is_set():
            raise GuestFailed("no guest is called any more")
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._threads, act, *values)
        self._busy += 1
        if not self._is_ticking:
            self._is_ticking = True
            loop.call_later(TICK, self._tick, loop)
        future.add_done_callback(self._ended)
        return future

    async def wait(self, future: "asyncio.Future[T]") -> "T":
        """What comes of it. Raises `GuestFailed`."""
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if future.cancelled():
                raise GuestFailed("no guest is called any more") from None
            raise

    def _ended(self, future: "asyncio.Future[Any]") -> None:
        self._busy -= 1
        if not future.cancelled():
            future.exception()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self.engine.increment_epoch()
        self._is_ticking = bool(self._busy) and not self.closing.is_set()
        if self._is_ticking:
            loop.call_later(TICK, self._tick, loop)

    async def close(self) -> None:
        """Stops every guest, and waits for their threads."""
        self.closing.set()
        for _ in range(int(SECONDS / TICK) + 2):
            self.engine.increment_epoch()
        self._threads.shutdown(wait=False, cancel_futures=True)
        until = time.monotonic() + SECONDS
        while self._busy and time.monotonic() < until:
            self.engine.increment_epoch()
            await asyncio.sleep(0.01)

    # -- WASI, where the library's own would leave the rules above --

    def _define_wasi(self) -> None:
        import wasmtime

        i32, i64 = wasmtime.ValType.i32(), wasmtime.ValType.i64()
        self.define(_WASI, "fd_write", 4, "i32", _fd_write)
        self.define(_WASI, "poll_oneoff", 4, "i32", self._poll)
        if self._strict:
            kind = wasmtime.FuncType([i32, i64, i32], [i32])
            self._define(_WASI, "clock_time_get", kind, _clock_time_get)
            self.define(_WASI, "random_get", 2, "i32", _random_get)

    def _poll(self, guest: Guest, wanted: int, events: int, count: int, told: int) -> int:
        """Sleeps until the first of the clocks rings, or not at all when a descriptor is meant, too."""
        waits = []
        for n in range(count):
            at = wanted + 48 * n
            kind = guest.number(at + 8, 1)
            seconds = guest.number(at + 24, 8) / 1e9 if kind == 0 else 0.0
            if kind == 0 and guest.number(at + 40, 2) & 1:  # a point in time
                seconds -= time.time() if guest.number(at + 16) == 0 else time.monotonic()
            waits.append((max(seconds, 0.0), at, kind))
        shortest = min(waits, default=(0.0, 0, 0))[0]
        if shortest and not self._strict:
            if shortest > SECONDS or self.closing.wait(shortest):
                raise GuestFailed(f"a guest may not sleep longer than {SECONDS:g} s")
        rung = [one for one in waits if one[0] <= shortest]
        for n, (_, at, kind) in enumerate(rung):
            event = guest.read(at, 8, "a subscription") + b"\0\0" + bytes((kind,)) + bytes(21)
            guest.write(events + 32 * n, event)
        guest.write(told, len(rung).to_bytes(4, "little"))
        return _SUCCESS


def _fd_write(guest: Guest, descriptor: int, vectors: int, count: int, told: int) -> int:
    if descriptor not in (1, 2):
        return _BADF
    kept, written = (guest.out if descriptor == 1 else guest.err), 0
    for n in range(count):
        at, size = guest.number(vectors + 8 * n), guest.number(vectors + 8 * n + 4)
        kept += guest.read(at, size, "output")[: max(0, MAX_OUTPUT - len(kept))]
        written += size
    guest.write(told, written.to_bytes(4, "little"))
    return _SUCCESS


def _clock_time_get(guest: Guest, clock: int, _precision: int, at: int) -> int:
    guest.write(at, guest.strict_time(clock).to_bytes(8, "little"))
    return _SUCCESS


def _random_get(guest: Guest, at: int, size: int) -> int:
    guest.write(at, guest.strict_random(size))
    return _SUCCESS


def _first_line(error: Exception) -> str:
    """The reason of an error; wasmtime tells it last, behind the stack."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return repr(error)
    reason = next((line for line in reversed(lines) if "wasm trap:" in line or line.startswith("1:")), lines[0])
    return reason.removeprefix("1:").strip()
