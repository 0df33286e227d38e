"""Timers of a sidecar: many at a time, never early, and beyond a deactivation."""

import time

from tests.integration.harness import World, eventually
from tests.integration.reminders.cats import Cats, hosted, post
from tests.integration.reminders.conftest import Plane

MANY = 1000


def test_a_thousand_timers_come_and_none_is_early(world: World, plane: Plane) -> None:
    cats = Cats(world)
    sidecar = hosted(plane.sidecar(cats.app))
    wire = sidecar.connect()
    registered = {}
    for number in range(MANY):
        registered[f"c{number}/timer/eat"] = time.monotonic()
        body = b'{"dueTime":"2s","data":1}'
        wire.send(
            b"POST /v1.0/actors/Cat/c%d/timers/eat HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
            % (number, len(body), body)
        )
        assert wire.message().status == 204

    eventually(lambda: len(cats.times) >= MANY, "all timers have come", 60)
    late = sorted(cats.times[key][0] - at - 2 for key, at in registered.items())
    assert late[0] >= 0
    assert all(count == 1 for count in cats.counts.values())


def test_a_timer_hears_what_it_was_given_until_it_is_taken_back(world: World, plane: Plane) -> None:
    cats = Cats(world)
    sidecar = hosted(plane.sidecar(cats.app))
    assert post(sidecar, "c1/timers/eat", dueTime="0s", period="50ms", callback="onEat", data=[1]).status == 204
    eventually(lambda: cats.counts["c1/timer/eat"] > 2, "the timer comes")
    assert cats.bodies["c1/timer/eat"] == {"callback": "onEat", "data": [1], "dueTime": "0s", "period": "50ms"}
    assert sidecar.call("DELETE", "/v1.0/actors/Cat/c1/timers/eat").status == 204
    post(sidecar, "c1/timers/next", dueTime="0s")
    eventually(lambda: cats.counts["c1/timer/next"], "the next timer comes")
    before = cats.counts["c1/timer/eat"]
    post(sidecar, "c1/timers/last", dueTime="300ms")
    eventually(lambda: cats.counts["c1/timer/last"], "the last timer comes")
    assert cats.counts["c1/timer/eat"] == before


def test_a_timer_outlives_the_deactivation_of_its_actor(world: World, plane: Plane) -> None:
    cats = Cats(world, "300ms")
    sidecar = hosted(plane.sidecar(cats.app))
    assert post(sidecar, "c1/timers/eat", dueTime="0s", period="R2/PT3S").status == 204
    eventually(lambda: cats.counts["c1/deactivated"], "the actor is idle")
    before = cats.counts["c1/timer/eat"]
    eventually(lambda: cats.counts["c1/timer/eat"] == 2, "the timer comes again")
    assert before == 1
