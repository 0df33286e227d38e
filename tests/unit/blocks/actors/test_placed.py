"""Claims: who waits, for what, and what becomes of those under way when their actors have to go."""

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from pydapr.blocks import actors
from pydapr.blocks.actors import placed
from pydapr.errors import ActorRuntimeClosed, NoAddress
from pydapr.lib.actors import Actor, Host

ME = Host("127.0.0.1:1", "me")
OTHER = Host("10.0.0.2:2", "other")
MINE = {ME.address: ME.app_id}
BOTH = MINE | {OTHER.address: OTHER.app_id}
IDS = [str(number) for number in range(100)]


class Here(actors.Hosted):
    """What lives here: says what was asked of it."""

    def __init__(self, seconds: float = 60.0) -> None:
        self.seconds = seconds
        self.halts: list[Callable[[Actor], bool]] = []
        self.goes = asyncio.Event()
        self.goes.set()

    def types(self) -> Sequence[str]:
        return []

    async def halt(self, stays: Callable[[Actor], bool]) -> None:
        self.halts.append(stays)
        await self.goes.wait()

    def drain(self, actor_type: str) -> float:
        return self.seconds


def _actor(name: str, actor_type: str = "t") -> Actor:
    return Actor(actor_type, name)


async def _settled(hosted: Here, members: dict[str, dict[str, str]] | None = None) -> placed.Placed:
    made = placed.Placed(ME, hosted)
    await made.update({"t": MINE} if members is None else members, 100)
    made.unlock()
    return made


async def _moving() -> str:
    """An actor that lives here while nobody else does, and elsewhere else."""
    both = await _settled(Here(), {"t": BOTH})
    return next(name for name in IDS if not both.is_here(_actor(name)))


async def _staying() -> str:
    """An actor that lives here, whether others do or not."""
    both = await _settled(Here(), {"t": BOTH})
    return next(name for name in IDS if both.is_here(_actor(name)))


async def _begun(work: "asyncio.Task[None] | asyncio.Task[actors.Claim]") -> None:
    """Lets a task go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)
    assert not work.done()


async def test_a_claim_waits_for_the_first_table_and_its_end() -> None:
    made = placed.Placed(ME, Here())
    waiting = asyncio.create_task(made.claim(_actor("1")))
    await _begun(waiting)
    assert made.claim_now(_actor("1")) is None

    await made.update({"t": MINE}, 100)
    await _begun(waiting)
    assert not made.is_ready

    assert made.unlock() == ["t"]
    claim = await waiting
    assert (claim.host, claim.is_here, made.is_ready) == (ME, True, True)


async def test_who_waits_for_a_type_that_nobody_hosts_is_told_with_the_table() -> None:
    made = placed.Placed(ME, Here())
    waiting = asyncio.create_task(made.claim(_actor("1", "unknown")))
    await _begun(waiting)

    await made.update({"t": MINE}, 100)

    with pytest.raises(NoAddress, match="did not find address for actor 'unknown/1'"):
        await waiting


async def test_an_actor_of_another_is_claimed_there() -> None:
    made = await _settled(Here(), {"t": {OTHER.address: OTHER.app_id}})

    claim = await made.claim(_actor("1"))

    assert (claim.host, claim.is_here, made.is_here(_actor("1"))) == (OTHER, False, False)
    claim.when_revoked(lambda: pytest.fail("revoked"))
    claim.release()


@pytest.mark.parametrize("name", ["localhost:1", "127.0.0.1:1", "[::1]:1"])
async def test_this_machine_is_known_by_all_its_names(name: str) -> None:
    made = await _settled(Here(), {"t": {name: "me"}})

    assert (await made.claim(_actor("1"))).is_here


async def test_a_table_waits_for_claims_of_its_types_and_then_deactivates() -> None:
    here, name = Here(), await _moving()
    made = await _settled(here, {"t": MINE, "u": MINE})
    claims = [await made.claim(_actor(name)) for _ in range(2)]
    await made.claim(_actor("1", "u"))

    update = asyncio.create_task(made.update({"t": BOTH, "u": MINE}, 100))
    await _begun(update)
    assert len(here.halts) == 1
    claims[0].release()
    claims[0].release()
    await _begun(update)
    claims[1].release()
    await update

    stays = here.halts[-1]
    assert len(here.halts) == 2 and not stays(_actor(name)) and stays(_actor("1", "u"))


async def test_types_that_do_not_change_see_nothing_of_a_round() -> None:
    made = await _settled(Here(), {"t": MINE, "u": MINE})
    held = await made.claim(_actor("1"))

    update = asyncio.create_task(made.update({"t": BOTH, "u": MINE}, 100))
    await _begun(update)

    assert (await made.claim(_actor("1", "u"))).is_here
    held.release()
    await update


async def test_claims_that_take_too_long_are_revoked() -> None:
    made, told = await _settled(Here(0.01)), list[str]()
    held = await made.claim(_actor("1"))
    held.when_revoked(lambda: told.append("1"))

    await made.update({"t": BOTH}, 100)

    assert told == ["1"]
    held.when_revoked(lambda: told.append("late"))
    held.release()
    assert told == ["1", "late"]


async def test_claims_are_revoked_at_once_where_nothing_is_drained() -> None:
    made, told = await _settled(Here(0)), list[str]()
    (await made.claim(_actor("1"))).when_revoked(lambda: told.append("1"))

    await made.update({"t": BOTH}, 100)

    assert told == ["1"]


async def test_types_are_drained_side_by_side() -> None:
    made = await _settled(Here(), {"t": MINE, "u": MINE})
    first, second = await made.claim(_actor("1", "t")), await made.claim(_actor("1", "u"))

    update = asyncio.create_task(made.update({"t": BOTH, "u": BOTH}, 100))
    await _begun(update)
    second.release()
    first.release()

    await update


async def test_a_call_of_an_actor_that_stays_is_not_held_up() -> None:
    name, stays = await _moving(), await _staying()
    made = await _settled(Here())

    await made.update({"t": BOTH}, 100)

    assert made.claim_now(_actor(stays)) is not None
    assert made.claim_now(_actor(name)) is None
    made.unlock()
    assert (await made.claim(_actor(name))).host == OTHER


async def test_a_lost_placement_takes_everything_and_calls_wait_for_the_next_table() -> None:
    here, told = Here(0.01), list[str]()
    made = await _settled(here)
    (await made.claim(_actor("1"))).when_revoked(lambda: told.append("1"))

    await made.lost()

    assert told == ["1"] and not here.halts[-1](_actor("1"))
    assert not made.is_ready and not made.is_here(_actor("1"))
    waiting = asyncio.create_task(made.claim(_actor("1")))
    await _begun(waiting)
    await made.update({"t": MINE}, 100)
    await _begun(waiting)
    made.unlock()
    assert (await waiting).is_here


async def test_what_a_broken_off_round_has_left_is_revoked_with_the_loss() -> None:
    made, told = await _settled(Here(), {"t": MINE}), list[str]()
    (await made.claim(_actor("1"))).when_revoked(lambda: told.append("1"))
    update = asyncio.create_task(made.update({"t": BOTH}, 100))
    await _begun(update)
    update.cancel()
    await asyncio.wait([update])

    await made.lost()

    assert told == ["1"]


@pytest.mark.plain
async def test_an_app_that_never_answers_a_deactivation_does_not_hold_the_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(placed, "HALT_SECONDS", 0.01)
    here = Here()
    made = await _settled(here)
    here.goes.clear()

    await made.lost()

    assert len(here.halts) == 2


@pytest.mark.plain
async def test_a_sidecar_that_stood_still_knows_nothing_until_placement_has_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(placed, "BEAT_SECONDS", -1.0)
    made = await _settled(Here())
    made.alive()
    assert made.claim_now(_actor("1")) is None
    waiting = asyncio.create_task(made.claim(_actor("1")))
    await _begun(waiting)

    monkeypatch.setattr(placed, "BEAT_SECONDS", 60.0)
    made.alive()

    assert (await waiting).is_here


@pytest.mark.plain
async def test_what_was_under_way_when_a_sidecar_stood_still_ends_with_placement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(placed, "BEAT_SECONDS", -1.0)
    made, told = await _settled(Here()), list[str]()
    (await made.claim(_actor("1"))).when_revoked(lambda: told.append("1"))
    assert await made.sure()
    made.alive()
    unsure = asyncio.create_task(made.sure())
    await asyncio.sleep(0)
    assert not unsure.done()

    await made.lost()

    assert told == ["1"] and not await unsure
    assert await made.sure()


async def test_who_waits_when_the_sidecar_ends_is_told() -> None:
    made = placed.Placed(ME, Here())
    waiting = asyncio.create_task(made.claim(_actor("1")))
    await _begun(waiting)

    made.close()

    with pytest.raises(ActorRuntimeClosed):
        await waiting
    with pytest.raises(ActorRuntimeClosed):
        await made.claim(_actor("1"))


async def test_who_gives_up_waiting_leaves_nothing_behind() -> None:
    made = placed.Placed(ME, Here())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await made.claim(_actor("1"))

    assert not made._waiting


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_comes_when_every_wait_ends_and_no_claim_is_forgotten(seed: int) -> None:
    """Placement says this and that; calls begin and end. At last everybody has an answer, and nothing is held."""
    chance, made = random.Random(seed), placed.Placed(ME, Here(0.001))
    waiting, held = list["asyncio.Task[actors.Claim]"](), list[actors.Claim]()
    revoked = list[actors.Claim]()
    tables = [{}, {"t": MINE}, {"t": BOTH}, {"t": BOTH, "u": MINE}, {"u": {OTHER.address: OTHER.app_id}}]
    for _ in range(150):
        match chance.choice(["call", "call", "call", "release", "update", "unlock", "lost", "give up"]):
            case "call":
                actor = _actor(chance.choice(IDS), chance.choice("tuv"))
                waiting.append(asyncio.create_task(made.claim(actor)))
            case "release" if held:
                held.pop(chance.randrange(len(held))).release()
            case "update":
                await made.update(chance.choice(tables), 100)
            case "unlock":
                made.unlock()
            case "lost":
                await made.lost()
                for task in waiting:
                    assert not task.done() or task.exception() or not task.result().is_here
            case "give up" if waiting:
                waiting.pop(chance.randrange(len(waiting))).cancel()
        await asyncio.sleep(0)
        for task in [task for task in waiting if task.done()]:
            waiting.remove(task)
            if task.exception() is None:
                claim = task.result()
                claim.when_revoked(partial(revoked.append, claim))
                held.append(claim)
    made.close()
    await made.lost()

    if waiting:
        done, left = await asyncio.wait(waiting, timeout=5)
        assert not left and all(isinstance(task.exception(), NoAddress | ActorRuntimeClosed) for task in done)
    assert all(claim in revoked for claim in held if claim.is_here)
    assert not made._waiting and not made._draining and not made._claims
