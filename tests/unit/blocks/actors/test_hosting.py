"""Activation, turns, idleness and the ways in which actors have to go."""

import asyncio

import pytest
from tests.unit.blocks.actors.world import LIMIT, FakeTarget, call, options, until

from pydapr.blocks.actors import Moved, Reentrancy, hosting
from pydapr.blocks.actors.hosting import Here
from pydapr.errors import ActorInstanceMissing, ActorInvokeFailed, ActorStackTooDeep
from pydapr.lib.actors import Actor, Reminder
from pydapr.net import tasks

CAT = Actor("Cat", "1")


async def test_the_first_call_activates() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options(), "Dog": options()}, target)
    assert here.types() == ["Cat", "Dog"]
    assert here.counts() == {"Cat": 0, "Dog": 0}
    answer = await here.invoke(CAT, call())
    assert answer.body.take() == b"done"
    assert here.counts() == {"Cat": 1, "Dog": 0}
    assert here.is_active(CAT)
    await here.end(1)
    assert target.done == ["Cat||1 m", "Cat||1 gone"]


async def test_an_actor_has_one_call_at_a_time_and_others_go_on() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options()}, target)
    target.gate.clear()
    same = [asyncio.create_task(here.invoke(CAT, call(str(number)))) for number in range(3)]
    others = [asyncio.create_task(here.invoke(Actor("Cat", f"o{number}"), call())) for number in range(4)]
    await until(lambda: target.now == 5)
    target.gate.set()
    await asyncio.gather(*same, *others)
    assert target.most == 5
    assert [what for what in target.done if what.startswith("Cat||1 ")] == [f"Cat||1 {n}" for n in range(3)]
    await here.end(1)


async def test_reminders_take_turns_too_unless_they_skip_them() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options()}, target)
    target.gate.clear()
    calls = asyncio.create_task(here.invoke(CAT, call()))
    await until(lambda: target.now == 1)
    waits = asyncio.create_task(here.remind(Reminder(CAT, "r")))
    skips = asyncio.create_task(here.remind(Reminder(CAT, "s", skips_turn=True)))
    await until(lambda: target.now == 2)
    assert target.now == 2
    target.gate.set()
    await asyncio.gather(calls, waits, skips)
    await here.end(1)


async def test_a_call_gets_an_id_that_lets_in_what_it_leads_to() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options(again=Reentrancy(True, 2))}, target)
    target.gate.clear()
    first = asyncio.create_task(here.invoke(CAT, call()))
    await until(lambda: target.now == 1)
    id = dict(target.calls[0].headers)[b"dapr-reentrancy-id"].decode()
    assert id
    second = asyncio.create_task(here.invoke(CAT, call(dapr_reentrancy_id=id)))
    await until(lambda: target.now == 2)
    with pytest.raises(ActorStackTooDeep):
        await here.invoke(CAT, call(dapr_reentrancy_id=id))
    target.gate.set()
    await asyncio.gather(first, second)
    await here.end(1)


async def test_without_reentrancy_an_id_is_a_header_field_like_others() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options()}, target)
    await here.invoke(CAT, call(dapr_reentrancy_id="x"))
    await here.invoke(CAT, call())
    assert [dict(one.headers).get(b"dapr-reentrancy-id") for one in target.calls] == [b"x", None]
    await here.end(1)


async def test_what_is_idle_is_deactivated_and_what_has_a_call_is_not() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options(idle=0.1), "Dog": options()}, target)
    await here.invoke(Actor("Dog", "1"), call())
    await here.invoke(Actor("Cat", "idle"), call())
    target.gate.clear()
    busy = asyncio.create_task(here.invoke(Actor("Cat", "busy"), call()))
    await until(lambda: "Cat||idle gone" in target.done)
    await asyncio.sleep(0.15)
    assert here.counts() == {"Cat": 1, "Dog": 1}
    target.gate.set()
    await busy
    await until(lambda: here.counts() == {"Cat": 0, "Dog": 1})
    await here.end(1)


async def test_a_call_for_an_actor_that_goes_waits_and_activates_it_anew() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options(idle=0.05)}, target)
    target.farewell.clear()
    await here.invoke(CAT, call("first"))
    await until(lambda: here._find(CAT) is None)
    second = asyncio.create_task(here.invoke(CAT, call("second")))
    await asyncio.sleep(0.01)
    assert target.done == ["Cat||1 first"]
    target.farewell.set()
    await second
    assert target.done[:3] == ["Cat||1 first", "Cat||1 gone", "Cat||1 second"]
    await here.end(1)


async def test_halting_lets_go_all_but_those_that_stay() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options()}, target)
    for number in range(300):
        await here.invoke(Actor("Cat", str(number)), call())
    await here.halt(lambda actor: int(actor.id) % 3 == 0)
    assert here.counts() == {"Cat": 100}
    assert all(here.is_active(Actor("Cat", str(number))) == (number % 3 == 0) for number in range(300))
    await here.end(1)


async def test_who_waits_for_a_turn_of_an_actor_that_goes_is_told_that_it_moved() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options()}, target)
    target.gate.clear()
    first = asyncio.create_task(here.invoke(CAT, call()))
    await until(lambda: target.now == 1)
    second = asyncio.create_task(here.invoke(CAT, call()))
    await asyncio.sleep(0)
    halting = asyncio.create_task(here.halt(lambda _: False))
    with pytest.raises(Moved):
        await second
    target.gate.set()
    await asyncio.gather(first, halting)
    await here.end(1)


async def test_an_app_that_cannot_deactivate_loses_the_actor_all_the_same() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options()}, target)
    await here.invoke(CAT, call())
    target.fault = ActorInvokeFailed("broken")
    await here.halt(lambda _: False)
    assert not here.is_active(CAT)
    await here.end(1)


async def test_types_that_are_not_registered_are_elsewhere() -> None:
    here, target, told = Here(), FakeTarget(), list[object]()
    here.on_types = lambda: told.append(list(here.types()))
    with pytest.raises(Moved, match="not registered"):
        await here.invoke(CAT, call())
    here.register({"Cat": options()}, target)
    await here.invoke(CAT, call())
    await here.unregister(["Cat", "None"])
    assert target.done[-1] == "Cat||1 gone"
    with pytest.raises(Moved):
        await here.invoke(CAT, call())
    assert told == [["Cat"], []]


async def test_without_a_store_for_their_state_no_actors_live_here() -> None:
    here = Here()
    here.is_suspended = True
    here.register({"Cat": options()}, FakeTarget())
    assert not here.types()
    assert not here.hosts("Cat")
    with pytest.raises(Moved, match="suspended"):
        await here.invoke(CAT, call())


async def test_drains_are_those_of_the_type() -> None:
    here = Here()
    here.register({"Cat": options(drain=5), "Dog": options(drain=5, drains=False)}, FakeTarget())
    assert (here.drain("Cat"), here.drain("Dog"), here.drain("None")) == (5, 0, 0)


async def test_state_is_written_only_where_the_actor_is_and_keeps_it_there() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options()}, target)
    written = asyncio.Event()

    async def write() -> str:
        await written.wait()
        return "written"

    with pytest.raises(ActorInstanceMissing):
        await here.write(CAT, write)
    await here.invoke(CAT, call())
    writing = asyncio.create_task(here.write(CAT, write))
    await asyncio.sleep(0)
    halting = asyncio.create_task(here.halt(lambda _: False))
    await until(lambda: "Cat||1 gone" in target.done)
    assert not halting.done()
    assert here.is_active(CAT)
    written.set()
    assert await writing == "written"
    await halting
    assert not here.is_active(CAT)


async def test_the_end_is_bounded() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options()}, target)
    await here.invoke(CAT, call())
    target.farewell.clear()
    async with asyncio.timeout(LIMIT):
        await here.end(0.05)
    assert not here.is_active(CAT)
    with pytest.raises(Moved):
        await here.invoke(CAT, call())


@pytest.mark.plain
async def test_others_do_not_wait_for_an_app_that_does_not_deactivate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting, "HALT_SECONDS", 0.02)
    here, target = Here(), FakeTarget()
    here.register({"Cat": options()}, target)
    await here.invoke(CAT, call())
    target.farewell.clear()
    async with asyncio.timeout(LIMIT):
        await here.halt(lambda _: False)
    again = asyncio.create_task(here.invoke(CAT, call()))
    await asyncio.sleep(0.01)
    assert not again.done()
    target.farewell.set()
    await again
    assert target.done == ["Cat||1 m", "Cat||1 gone", "Cat||1 m"]
    await here.end(1)


async def test_a_turn_lasts_until_the_app_has_answered_even_if_nobody_waits_for_that() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options()}, target)
    target.gate.clear()
    first = asyncio.create_task(here.invoke(CAT, call("first")))
    await until(lambda: target.now == 1)
    second = asyncio.create_task(here.invoke(CAT, call("second")))
    await asyncio.sleep(0)
    tasks.abandon(first)
    await asyncio.sleep(0.01)
    assert target.now == 1
    target.gate.set()
    await second
    assert target.most == 1
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not tasks.told_instead
    await here.end(1)


async def test_what_was_abandoned_does_not_keep_its_turn_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting, "ABANDONED_SECONDS", 0.01)
    here, target = Here(), FakeTarget()
    here.register({"Cat": options()}, target)
    target.gate.clear()
    first = asyncio.create_task(here.remind(Reminder(CAT, "r")))
    await until(lambda: target.now == 1)
    tasks.abandon(first)
    await asyncio.wait((first,), timeout=LIMIT)
    assert first.cancelled()
    target.gate.set()
    await here.invoke(CAT, call())
    assert target.done == ["Cat||1 m"]
    await here.end(1)


async def test_who_waits_for_a_turn_and_gives_up_is_gone_at_once() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options()}, target)
    target.gate.clear()
    first = asyncio.create_task(here.invoke(CAT, call("first")))
    await until(lambda: target.now == 1)
    second = asyncio.create_task(here.invoke(CAT, call("second")))
    await asyncio.sleep(0)
    tasks.abandon(second)
    await asyncio.wait((second,), timeout=LIMIT)
    assert second.cancelled()
    target.gate.set()
    await first
    await here.end(1)
    assert target.done == ["Cat||1 first", "Cat||1 gone"]


async def test_an_actor_that_goes_without_an_order_is_deactivated_after_its_call() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options()}, target)
    target.gate.clear()
    calling = asyncio.create_task(here.invoke(CAT, call()))
    await until(lambda: target.now == 1)
    going = asyncio.create_task(here.unregister(["Cat"]))
    await asyncio.sleep(0.01)
    assert target.done == []
    target.gate.set()
    await asyncio.gather(calling, going)
    assert target.done == ["Cat||1 m", "Cat||1 gone"]


async def test_a_type_that_is_not_hosted_any_more_has_its_drain_until_its_actors_are_gone() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options(drain=7)}, target)
    await here.invoke(CAT, call())
    target.farewell.clear()
    going = asyncio.create_task(here.unregister(["Cat"]))
    await asyncio.sleep(0)
    assert here.drain("Cat") == 7
    target.farewell.set()
    await going
    assert here.drain("Cat") == 0


async def test_a_call_that_does_not_end_when_its_actor_goes_is_broken_off() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options(drain=0.01)}, target)
    target.gate.clear()
    calling = asyncio.create_task(here.invoke(CAT, call()))
    await until(lambda: target.now == 1)
    async with asyncio.timeout(LIMIT):
        await here.unregister(["Cat"])
    with pytest.raises(Moved):
        await calling
    assert (target.now, target.done) == (0, ["Cat||1 gone"])


async def test_an_app_that_comes_back_does_not_get_an_actor_that_is_still_going() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options()}, target)
    await here.invoke(CAT, call("first"))
    target.farewell.clear()
    going = asyncio.create_task(here.unregister(["Cat"]))
    await asyncio.sleep(0)
    here.register({"Cat": options()}, target)
    again = asyncio.create_task(here.invoke(CAT, call("second")))
    await asyncio.sleep(0.01)
    assert target.done == ["Cat||1 first"]
    target.farewell.set()
    await asyncio.gather(going, again)
    assert target.done == ["Cat||1 first", "Cat||1 gone", "Cat||1 second"]
    await here.end(1)


async def test_others_wait_for_actors_whose_type_is_not_hosted_any_more() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options()}, target)
    await here.invoke(CAT, call())
    target.farewell.clear()
    going = asyncio.create_task(here.unregister(["Cat"]))
    await asyncio.sleep(0)
    halting = asyncio.create_task(here.halt(lambda _: False))
    await asyncio.sleep(0.01)
    assert not halting.done()
    target.farewell.set()
    await asyncio.gather(going, halting)


async def test_an_actor_that_others_have_by_now_writes_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting, "HALT_SECONDS", 0.01)
    here, target = Here(), FakeTarget()
    here.register({"Cat": options()}, target)
    await here.invoke(CAT, call())
    target.farewell.clear()
    halting = asyncio.create_task(here.halt(lambda _: False))
    await asyncio.sleep(0)
    await here.write(CAT, _nothing)  # an app may save what it has while it deactivates
    await halting
    with pytest.raises(ActorInstanceMissing):
        await here.write(CAT, _nothing)
    target.farewell.set()
    await here.end(1)


async def test_an_actor_that_could_not_be_deactivated_stays_for_the_writes_under_way() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options()}, target)
    await here.invoke(CAT, call())
    written = asyncio.Event()
    writing = asyncio.create_task(here.write(CAT, written.wait))
    await asyncio.sleep(0)
    target.fault = ActorInvokeFailed("gone")
    halting = asyncio.create_task(here.halt(lambda _: False))
    await until(lambda: "Cat||1 gone" in target.done)
    await asyncio.sleep(0.01)
    assert not halting.done()
    written.set()
    await asyncio.gather(writing, halting)


async def test_actors_that_had_to_go_are_forgotten() -> None:
    here, target = Here(), FakeTarget()
    here.register({"Cat": options()}, target)
    for _ in range(3):
        for number in range(10):
            await here.invoke(Actor("Cat", str(number)), call())
        await here.halt(lambda actor: actor.id == "5")
    assert len(here._idle) == 1
    await here.end(1)


async def _nothing() -> None:
    pass
