"""Calls without a pause between two sidecars, and waiting for the renewals of their certificates."""

import itertools
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.integration import harness
from tests.integration.harness import Sidecar
from tests.integration.http_wire import Message

THREADS = 4

Ask = Callable[[int], Message]
"""One call, by its number."""


class Load:
    """Calls without a pause, by some threads; what did not go well is in `failures`.

    They go from one app to the other, unless `ask` says what is called, and answers other than 204 have a "hello"."""

    def __init__(self, caller: Sidecar, callee: Sidecar, ask: Ask | None = None, threads: int = THREADS) -> None:
        self.caller, self.callee = caller, callee
        self._ask = ask or self._invoke
        self._numbers = itertools.count()
        self.count = 0
        self.failures: list[object] = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def once(self) -> int:
        """The status of one call, which is not counted: the callee is found by it."""
        return self._ask(next(self._numbers)).status

    def _invoke(self, number: int) -> Message:
        return self.caller.call("POST", f"/v1.0/invoke/{self.callee.app_id}/method/some", body=b"hello")

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                answer = self._ask(next(self._numbers))
            except Exception as error:  # whatever it is, it is a call that failed
                self.failures.append(error)
                continue
            self.count += 1
            if answer.status != 204 and (answer.status != 200 or b"hello" not in answer.body):
                self.failures.append((answer.status, answer.body))

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            for thread in self._threads:
                thread.join()


def renewals(sidecar: Sidecar) -> float:
    """How often its certificate was renewed so far."""
    page = sidecar.call("GET", "/", port=sidecar.metrics).body.decode()
    found = re.search(r"^dapr_runtime_mtls_workload_cert_rotated_total\{[^}]*\} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def await_renewals(sidecars: list[Sidecar], count: int) -> None:
    """Waits until each has another certificate, `count` times."""
    wanted = [renewals(one) + count for one in sidecars]
    harness.eventually(
        lambda: all(renewals(one) >= number for one, number in zip(sidecars, wanted, strict=True)), "renewals"
    )
