"""Signs of life: when a peer is asked for one, and when it is given up. The clock is the test's."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from pydapr.net.keepalive import Keepalive


class Clock:
    """A loop with nothing but a clock and timers."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, work: Callable[[], None]) -> "Timer":
        self.timers.append(Timer(self, when, work))
        return self.timers[-1]

    def go_to(self, moment: float) -> None:
        while due := [timer for timer in self.timers if timer.when <= moment]:
            timer = min(due, key=lambda timer: timer.when)
            self.timers.remove(timer)
            self.now = max(self.now, timer.when)
            timer.work()
        self.now = moment


class Timer:
    def __init__(self, clock: Clock, when: float, work: Callable[[], None]) -> None:
        self.clock, self.when, self.work = clock, when, work

    def cancel(self) -> None:
        self.clock.timers.remove(self)


class Peer:
    """A connection whose peer answers, or does not."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.heard_at = clock.now
        self.answers = True
        self.asked: list[float] = []
        self.reason = ""

    def ask(self) -> None:
        self.asked.append(self.clock.now)
        if self.answers:
            self.heard_at = self.clock.now

    def give_up(self, reason: str) -> None:
        self.reason = reason


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _watched(clock: Clock) -> tuple[Peer, Keepalive]:
    peer = Peer(clock)
    return peer, Keepalive(peer, cast(asyncio.AbstractEventLoop, cast(Any, clock)), 10.0, 5.0)


def test_a_quiet_peer_that_answers_is_asked_now_and_then(clock: Clock) -> None:
    peer, _ = _watched(clock)
    clock.go_to(200.0)
    assert not peer.reason
    assert 5 <= len(peer.asked) <= 10
    assert min(later - before for before, later in zip(peer.asked, peer.asked[1:], strict=False)) >= 10.0


def test_a_busy_peer_is_not_asked(clock: Clock) -> None:
    peer, _ = _watched(clock)
    for moment in range(101, 200):
        peer.heard_at = float(moment)
        clock.go_to(float(moment))
    assert peer.asked == []


def test_a_peer_without_an_answer_is_given_up(clock: Clock) -> None:
    peer, _ = _watched(clock)
    peer.answers = False
    clock.go_to(114.9)
    assert not peer.reason
    clock.go_to(115.1)
    assert "keepalive" in peer.reason and not clock.timers


def test_a_process_that_stood_still_itself_looks_again(clock: Clock) -> None:
    peer, _ = _watched(clock)
    peer.answers = False
    clock.go_to(110.5)
    clock.now = 500.0  # the timer is late: what came meanwhile has not been read
    clock.go_to(500.0)
    assert not peer.reason
    peer.heard_at = 500.1
    clock.go_to(506.0)
    assert not peer.reason


def test_a_connection_that_is_gone_is_forgotten(clock: Clock) -> None:
    _, keepalive = _watched(clock)
    keepalive.stop()
    assert clock.timers == []
