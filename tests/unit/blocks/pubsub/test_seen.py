"""Events that were delivered already."""

from pathlib import Path

import pytest

from pydapr.blocks.pubsub import events
from pydapr.blocks.pubsub.events import Event
from pydapr.blocks.pubsub.seen import Seen
from pydapr.blocks.pubsub.subscriptions import Subscribed
from pydapr.components.drivers import ledger
from pydapr.components.drivers.ledger import Ledger
from pydapr.components.pubsub import Message


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
