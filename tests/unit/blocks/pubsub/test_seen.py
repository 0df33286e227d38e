"""Events that were delivered already."""

import asyncio
from pathlib import Path

import pytest

from pydapr.blocks.pubsub import Broker, events, routing
from pydapr.blocks.pubsub.deliver import Around, Delivery, NotTaken
from pydapr.blocks.pubsub.events import Event
from pydapr.blocks.pubsub.seen import Seen
from pydapr.blocks.pubsub.subscriptions import Subscribed
from pydapr.components.drivers import ledger
from pydapr.components.drivers.ledger import Ledger
from pydapr.components.pubsub import Message, NotProcessed
from pydapr.components.pubsub.in_memory import InMemory, Options


def subscribed(topic: str = "t", dedup: str = "10m") -> Subscribed:
    return Subscribed("ps", topic, (), {"dedup": dedup})


def event(text: str) -> Event:
    return events.read(Message("t", text.encode()), "ps", "t", False)


ONE = '{"id":"1","source":"a"}'


async def test_an_event_is_new_until_the_app_has_taken_it(tmp_path: Path) -> None:
    memory = Ledger(tmp_path / "kept.db")
    seen = Seen(memory, ledger.Failed)
    assert await seen.is_new(subscribed(), event(ONE))
    assert await seen.is_new(subscribed(), event(ONE))
    await seen.delivered(subscribed(), event(ONE))
    await memory.close()

    again = Ledger(tmp_path / "kept.db")
    seen = Seen(again, ledger.Failed)
    assert not await seen.is_new(subscribed(), event(ONE))
    assert await seen.is_new(subscribed("other"), event(ONE))
    assert await seen.is_new(subscribed(), event('{"id":"1","source":"b"}'))
    assert await seen.is_new(subscribed(), event('{"id":"2","source":"a"}'))
    await again.close()


@pytest.mark.parametrize(
    ("dedup", "text"), [("10m", '{"source":"a"}'), ("10m", '{"id":""}'), ("soon", ONE), ("0", ONE), ("-1s", ONE)]
)
async def test_what_is_always_new(tmp_path: Path, dedup: str, text: str) -> None:
    memory = Ledger(tmp_path / "kept.db")
    seen = Seen(memory, ledger.Failed)
    await seen.delivered(subscribed(dedup=dedup), event(text))
    assert await seen.is_new(subscribed(dedup=dedup), event(text))
    assert not memory.is_there
    await memory.close()


@pytest.mark.parametrize("is_taken", [True, False])
async def test_a_copy_waits_for_the_one_that_is_under_way(tmp_path: Path, is_taken: bool) -> None:
    memory, wanted, first, second = Ledger(tmp_path / "kept.db"), subscribed(), event(ONE), event(ONE)
    seen = Seen(memory, ledger.Failed)
    assert await seen.begin(wanted, first)
    waiting = asyncio.create_task(seen.begin(wanted, second))
    assert await seen.begin(wanted, event('{"id":"2","source":"a"}'))
    assert not waiting.done()
    if is_taken:
        await seen.delivered(wanted, first)
    seen.end(wanted, first)
    seen.end(wanted, first)
    assert await waiting is not is_taken
    third = asyncio.create_task(seen.begin(wanted, event(ONE)))
    seen.end(wanted, second)
    assert await third is not is_taken
    await memory.close()


class App:
    """Takes an event when the gate is open, if `is_willing`."""

    def __init__(self, *, is_willing: bool) -> None:
        self.count, self.gate, self._is_willing = 0, asyncio.Event(), is_willing

    async def deliver(self, event: Event) -> bool:
        self.count += 1
        await self.gate.wait()
        if not self._is_willing:
            raise NotTaken("no")
        return True


@pytest.mark.parametrize("is_willing", [True, False])
async def test_copies_that_come_at_the_same_moment_are_delivered_once_if_the_app_takes_one(
    tmp_path: Path, is_willing: bool
) -> None:
    async def bury(*_: object) -> None:
        pytest.fail("there is no topic for dead letters")

    app, memory = App(is_willing=is_willing), Ledger(tmp_path / "kept.db")
    wanted = Subscribed("ps", "t", (routing.Rule("/t"),), {"dedup": "10m"})
    around = Around(bury, seen=Seen(memory, ledger.Failed))
    delivery = Delivery(Broker("ps", InMemory(Options())), wanted, app, around, 0.0)
    copies = [asyncio.create_task(delivery.deliver(Message("t", ONE.encode()))) for _ in range(3)]
    app.gate.set()
    outcomes = await asyncio.gather(*copies, return_exceptions=True)
    assert app.count == (1 if is_willing else 3)
    assert [type(outcome) for outcome in outcomes] == [type(None) if is_willing else NotProcessed] * 3
    await memory.close()


async def test_a_copy_that_gives_up_holds_up_no_other(tmp_path: Path) -> None:
    memory, wanted, first = Ledger(tmp_path / "kept.db"), subscribed(), event(ONE)
    seen = Seen(memory, ledger.Failed)
    assert await seen.begin(wanted, first)
    waiting = asyncio.create_task(seen.begin(wanted, event(ONE)))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait((waiting,))
    seen.end(wanted, first)
    assert await seen.begin(wanted, event(ONE))
    await memory.close()


async def test_ids_make_room_in_a_full_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MOST_BYTES", 64 * 4096)
    memory = Ledger(tmp_path / "kept.db")
    for number in range(300):
        await memory.see("s", f"{number:03}" + "x" * 2000, (1 << 50) + number)
    assert await memory.has_seen("s", "299" + "x" * 2000, 0)
    assert not await memory.has_seen("s", "000" + "x" * 2000, 0)
    await memory.hold(1, "ps", "t", "", {}, bytes(100_000))
    with pytest.raises(ledger.Failed, match="full"):
        await memory.hold(1, "ps", "t", "", {}, bytes(300_000))
    assert await memory.next_due() == 1
    await memory.close()


async def test_events_are_remembered_as_long_as_it_says(tmp_path: Path) -> None:
    memory = Ledger(tmp_path / "kept.db")
    await memory.see("s", "old", 1000)
    await memory.see("s", "new", 1 << 50)
    assert not await memory.has_seen("s", "old", 500)  # the next one has removed it
    assert await memory.has_seen("s", "new", 5000)
    assert not await memory.has_seen("s", "new", 1 << 50)
    await memory.close()


async def test_without_a_memory_events_are_delivered(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    memory = Ledger(tmp_path / "file" / "kept.db")
    seen = Seen(memory, ledger.Failed)
    await seen.delivered(subscribed(), event(ONE))
    assert await seen.is_new(subscribed(), event(ONE))
    await memory.close()
