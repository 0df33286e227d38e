"""Who has the turn of an actor, and who waits."""

import asyncio

import pytest

from pydapr.blocks.actors import Moved
from pydapr.blocks.actors.turns import Turns
from pydapr.errors import ActorStackTooDeep

DEEP = 32


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_turns_are_given_in_the_order_of_the_calls() -> None:
    turns, order = Turns(), list[int]()

    async def call(number: int) -> None:
        if not turns.try_enter("", DEEP):
            await turns.wait("", DEEP)
        order.append(number)
        assert not turns.is_free
        await asyncio.sleep(0)
        turns.leave()

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(call(number))
    assert order == list(range(20))
    assert turns.is_free


async def test_a_call_that_another_one_led_to_comes_in_at_once() -> None:
    turns = Turns()
    assert turns.try_enter("a", DEEP)
    assert turns.try_enter("a", DEEP)
    assert not turns.try_enter("b", DEEP)
    assert not turns.try_enter("", DEEP)
    turns.leave()
    assert not turns.is_free
    turns.leave()
    assert turns.is_free


async def test_without_an_id_nobody_comes_in_beside() -> None:
    turns = Turns()
    assert turns.try_enter("", DEEP)
    assert not turns.try_enter("", DEEP)


async def test_calls_are_nested_as_deep_as_they_may_be_and_what_is_refused_counts_for_nothing() -> None:
    turns = Turns()
    for _ in range(3):
        assert turns.try_enter("a", 3)
    for _ in range(2):
        with pytest.raises(ActorStackTooDeep):
            turns.try_enter("a", 3)
    for _ in range(3):
        turns.leave()
    assert turns.is_free


async def test_calls_with_one_id_share_the_turn_that_they_wait_for() -> None:
    turns = Turns()
    turns.try_enter("a", DEEP)
    waiting = [asyncio.create_task(turns.wait(id, 2)) for id in ("b", "c", "b")]
    await _settle()
    assert turns.waiting == 3
    with pytest.raises(ActorStackTooDeep):
        await turns.wait("b", 2)
    turns.leave()
    await _settle()
    assert [task.done() for task in waiting] == [True, False, True]
    turns.leave()
    turns.leave()
    await waiting[1]
    turns.leave()
    assert turns.is_free


async def test_who_gives_up_leaves_the_queue() -> None:
    turns = Turns()
    turns.try_enter("", DEEP)
    first, second = (asyncio.create_task(turns.wait("", DEEP)) for _ in range(2))
    await _settle()
    first.cancel()
    await asyncio.wait((first,))
    assert turns.waiting == 1
    turns.leave()
    await second
    turns.leave()
    assert turns.is_free


async def test_who_gives_up_as_the_turn_comes_passes_it_on() -> None:
    turns = Turns()
    turns.try_enter("", DEEP)
    first, second = (asyncio.create_task(turns.wait("", DEEP)) for _ in range(2))
    await _settle()
    turns.leave()
    first.cancel()
    await asyncio.wait((first,))
    assert first.cancelled()
    await second
    turns.leave()
    assert turns.is_free


async def test_who_waits_for_a_closed_actor_is_told_and_who_has_the_turn_keeps_it() -> None:
    turns = Turns()
    turns.try_enter("", DEEP)
    waiting = asyncio.create_task(turns.wait("", DEEP))
    await _settle()
    turns.close()
    with pytest.raises(Moved):
        await waiting
    with pytest.raises(Moved):
        turns.try_enter("", DEEP)
    assert not turns.is_free
    turns.leave()
    assert turns.is_free
