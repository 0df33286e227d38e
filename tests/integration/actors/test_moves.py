"""Instances that come, end and are killed while actors are called."""

import threading
import time
from collections.abc import Callable

import pytest
from tests.integration import http_wire
from tests.integration.actors.conftest import PROGRAMS, ActorWorld, Host, call, runtime
from tests.integration.harness import Sidecar, eventually
from tests.integration.http_wire import Broken, Message, Wire

IDS = [f"Cat/{number}" for number in range(24)]


class Callers:
    """Threads that call actors through one sidecar until they are stopped, and what went wrong."""

    def __init__(self, sidecar: Sidecar, count: int = 4) -> None:
        self.faults: list[Message | Exception] = []
        self.calls = 0
        self._sidecar, self._is_over = sidecar, threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        while not self._is_over.is_set():
            for actor in IDS[number::4]:
                try:
                    reply = call(self._sidecar, actor)
                    if reply.status != 200:
                        self.faults.append(reply)
                except (OSError, Broken) as error:
                    self.faults.append(error)
                self.calls += 1

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in self._threads)


def spread(sidecar: Sidecar, *hosts: Host) -> Callable[[], bool]:
    """Whether actors live in each of these apps, by calls of all."""

    def look() -> bool:
        for actor in IDS:
            assert call(sidecar, actor).status == 200
        return all(any(target.endswith("/m") for target in host.targets()) for host in hosts)

    return look


@pytest.mark.parametrize("program", PROGRAMS)
def test_instances_that_come_and_end_are_not_noticed_by_callers(actors: ActorWorld, program: str) -> None:
    first, second = actors.host(), actors.host()
    caller = actors.sidecar("caller", None)
    actors.sidecar("one", first)
    eventually(spread(caller, first), "the first instance")
    callers = Callers(caller)
    other = actors.sidecar("two", second, program=program)
    eventually(lambda: any(target.endswith("/m") for target in second.targets()), "actors in the second instance")
    second_had = len(second.targets())
    assert other.stop() == 0
    had = callers.calls
    eventually(lambda: callers.calls > had + 2 * len(IDS), "calls after the end")
    callers.stop()
    assert not callers.faults
    assert second_had
    active = {target.split("/")[3] for target in second.targets()}
    gone = {target.split("/")[3] for target in second.targets("DELETE")}
    assert active <= gone
    assert max(first.most_at_once, second.most_at_once) == 1


def test_actors_of_an_instance_that_was_killed_live_elsewhere(actors: ActorWorld) -> None:
    first, second = actors.host(), actors.host()
    caller = actors.sidecar("caller", None)
    actors.sidecar("one", first)
    other = actors.sidecar("two", second)
    eventually(spread(caller, first, second), "both instances")
    other.kill()
    for actor in IDS:
        assert call(caller, actor).status == 200


def test_an_app_that_does_not_deactivate_holds_up_nobody_else(actors: ActorWorld) -> None:
    host = actors.host({"entities": ["Cat"], "actorIdleTimeout": "100ms"})
    sidecar = actors.sidecar("app", host)
    host.farewell.clear()
    call(sidecar, "Cat/1")
    eventually(lambda: host.targets("DELETE") == ["/actors/Cat/1"], "a deactivation")
    assert call(sidecar, "Cat/2").status == 200
    began = time.monotonic()
    sidecar.stop()
    assert time.monotonic() - began < 15
    host.farewell.set()


def test_without_placement_actors_are_let_go_and_calls_wait_for_it(actors: ActorWorld) -> None:
    host = actors.host()
    sidecar = actors.sidecar("app", host)
    assert call(sidecar, "Cat/1").status == 200
    actors.placement.kill()
    eventually(lambda: host.targets("DELETE") == ["/actors/Cat/1"], "a deactivation")
    eventually(lambda: runtime(sidecar)["placement"] == "placement: disconnected", "no placement")
    replies: list[Message] = []
    waiting = threading.Thread(target=lambda: replies.append(call(sidecar, "Cat/1")))
    waiting.start()
    actors.placement.start()
    waiting.join(30)
    assert [reply.status for reply in replies] == [200]


def test_an_app_that_is_unhealthy_hosts_nothing(actors: ActorWorld) -> None:
    is_healthy = threading.Event()
    is_healthy.set()
    flags = ("--enable-app-health-check", "--app-health-probe-interval", "1", "--app-health-threshold", "1")
    first, second = actors.host(), actors.host()

    def handle(wire: Wire, request: Message) -> None:
        if request.target == "/healthz" and not is_healthy.is_set():
            wire.send(http_wire.answer("500 Internal Server Error"))
        else:
            first.handle(wire, request)

    first.app.handler = handle
    caller = actors.sidecar("caller", None)
    actors.sidecar("one", first, *flags)
    actors.sidecar("two", second)
    eventually(spread(caller, first, second), "both instances")
    is_healthy.clear()

    def moved() -> bool:
        before = len(first.targets())
        for actor in IDS:
            call(caller, actor)
        return len(first.targets()) == before

    eventually(moved, "all actors in the other instance")
    is_healthy.set()
    before = len(first.targets())
    eventually(lambda: spread(caller, second)() and len(first.targets()) > before, "actors in the first one again")
