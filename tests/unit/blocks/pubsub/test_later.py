"""Messages that are to be delivered later: when, where they wait, and what happens when brokers or files fail."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from time import time

import pytest

from pydapr.blocks.pubsub import Broker, later
from pydapr.blocks.pubsub.errors import MetadataInvalid
from pydapr.blocks.pubsub.later import Later
from pydapr.components.drivers import ledger
from pydapr.components.drivers.ledger import Ledger
from pydapr.components.pubsub import Handler, Message, PubSub, PubSubError, Subscription

NOW = 1_700_000_000.0
LIMIT = 20.0


class Fake(PubSub):
    """A broker that refuses as many messages as `refuses` says."""

    def __init__(self, refuses: int = 0) -> None:
        self.got: list[Message] = []
        self.has_some = asyncio.Event()
        self._refuses = refuses

    async def publish(self, message: Message) -> None:
        if self._refuses:
            self._refuses -= 1
            raise PubSubError("not now")
        self.got.append(message)
        self.has_some.set()

    async def subscribe(self, topic: str, metadata: Mapping[str, str], handler: Handler) -> Subscription:
        raise NotImplementedError

    async def await_some(self) -> list[Message]:
        async with asyncio.timeout(LIMIT):
            await self.has_some.wait()
        return self.got


@pytest.mark.parametrize(
    ("metadata", "at"),
    [
        ({}, None),
        ({"deliverAfter": "1m30s"}, NOW + 90),
        ({"DELIVERAFTER": "5"}, NOW + 5),
        ({"deliverAfter": "0"}, None),
        ({"deliverAt": "1700000010500"}, NOW + 10.5),
        ({"deliverAt": "2023-11-14T22:13:30Z"}, NOW + 10),
        ({"deliverAt": "2023-11-14T23:13:30.5+01:00"}, NOW + 10.5),
        ({"deliverAt": "2020-01-01T00:00:00Z"}, None),
        ({"deliverAt": "", "deliverAfter": "1s"}, NOW + 1),
    ],
)
def test_when(metadata: dict[str, str], at: float | None) -> None:
    assert later.due(metadata, NOW) == at


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"deliverAt": "tomorrow"}, "deliverAt value must be a time"),
        ({"deliverAt": "2023-11-14T22:13:30"}, "deliverAt value must be a time"),
        ({"deliverAt": "-5"}, "deliverAt value must be a time"),
        ({"deliverAfter": "soon"}, "deliverAfter value must be a duration"),
        ({"deliverAfter": "-1s"}, "must not be negative"),
        ({"deliverAfter": "9601h"}, "400 days at most"),
        ({"deliverAt": "1", "deliverAfter": "1s"}, "only one"),
    ],
)
def test_what_is_no_time_is_refused(metadata: dict[str, str], reason: str) -> None:
    with pytest.raises(later.Wrong, match=reason):
        later.due(metadata, NOW)


async def test_a_message_waits_until_it_is_due(tmp_path: Path) -> None:
    fake, keeper = Fake(), Ledger(tmp_path / "deep" / "kept.db")
    broker = Broker("ps", fake)
    one = Later(keeper, {"ps": broker}, ledger.Failed)
    at = one.due(broker, {"deliverAfter": "300ms"})
    assert at is not None
    await one.hold(broker, Message("t", b"\x00data", {"a": "b"}, "text/x", at))
    assert await fake.await_some() == [Message("t", b"\x00data", {"a": "b"}, "text/x")]
    assert time() >= at
    await one.end()
    assert await keeper.next_due() is None
    await keeper.close()


async def test_messages_outlive_the_sidecar_that_holds_them(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "kept.db")
    await first.hold(int(time() * 1000), "ps", "t", "", {}, b"x")
    await first.close()
    fake, second = Fake(refuses=1), Ledger(tmp_path / "kept.db")
    one = Later(second, {"ps": Broker("ps", fake)}, ledger.Failed)
    one.begin()
    assert [message.data for message in await fake.await_some()] == [b"x"]
    await one.end()
    await second.close()


async def test_who_has_taken_a_message_and_is_gone_does_not_keep_it(tmp_path: Path) -> None:
    keeper = Ledger(tmp_path / "kept.db")
    await keeper.hold(1000, "ps", "t", "", {}, b"x")
    [taken] = await keeper.take(5000, 10)
    assert await keeper.take(5000 + ledger.LEASE_MS - 1, 10) == []
    assert await keeper.take(5000 + ledger.LEASE_MS, 10) == [taken]
    await keeper.remove([taken.id])
    assert await keeper.next_due() is None
    await keeper.close()


class Spied(Ledger):
    """A ledger that tells when a message was put off."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.was_put_off = asyncio.Event()

    async def put_off(self, one: int, due: int) -> None:
        await super().put_off(one, due)
        self.was_put_off.set()


async def test_a_message_of_a_broker_that_is_gone_stays(tmp_path: Path) -> None:
    keeper = Spied(tmp_path / "kept.db")
    await keeper.hold(1000, "gone", "t", "", {}, b"x")
    one = Later(keeper, {}, ledger.Failed)
    one.begin()
    async with asyncio.timeout(LIMIT):
        await keeper.was_put_off.wait()
    await one.end()
    due = await keeper.next_due()
    assert due is not None
    assert 1000 < due < (time() + 5) * 1000
    await keeper.close()


class Deaf(Fake):
    """A broker that answers nothing; counts who has tried."""

    def __init__(self, fault: Exception) -> None:
        super().__init__()
        self.tried = 0
        self._fault = fault

    async def publish(self, message: Message) -> None:
        self.tried += 1
        raise self._fault


@pytest.mark.parametrize("fault", [PubSubError("away"), RuntimeError("a fault of the component")])
async def test_a_broker_that_is_away_costs_others_nothing_and_is_not_asked_for_each_message(
    tmp_path: Path, fault: Exception
) -> None:
    keeper = Spied(tmp_path / "kept.db")
    for _ in range(250):
        await keeper.hold(1000, "away", "t", "", {}, b"x")
    await keeper.hold(2000, "ps", "t", "", {}, b"y")
    fake, deaf = Fake(), Deaf(fault)
    one = Later(keeper, {"ps": Broker("ps", fake), "away": Broker("away", deaf)}, ledger.Failed)
    one.begin()
    assert [message.data for message in await fake.await_some()] == [b"y"]
    assert deaf.tried <= 2
    await one.end()
    left = await keeper.take(int(time() * 1000) + 10**6, 1000)
    assert [message.data for message in left] == [b"x"] * 250
    await keeper.close()


async def test_what_was_taken_and_not_tried_at_the_end_is_for_others_at_once(tmp_path: Path) -> None:
    keeper, begun, gate = Ledger(tmp_path / "kept.db"), asyncio.Event(), asyncio.Event()

    class Slow(Fake):
        async def publish(self, message: Message) -> None:
            begun.set()
            await gate.wait()
            await super().publish(message)

    for data in (b"1", b"2"):
        await keeper.hold(1000, "ps", "t", "", {}, data)
    one = Later(keeper, {"ps": Broker("ps", Slow())}, ledger.Failed)
    one.begin()
    async with asyncio.timeout(LIMIT):
        await begun.wait()
    ending = asyncio.create_task(one.end())
    await asyncio.sleep(0)
    gate.set()
    await ending
    assert [message.data for message in await keeper.take(int(time() * 1000) + 1, 10)] == [b"2"]
    await keeper.close()


async def test_file_that_could_not_be_made_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    keeper = Ledger(tmp_path / "file" / "kept.db")
    for _ in range(2):
        with pytest.raises(ledger.Failed, match=r"exists|Not a directory"):
            await keeper.hold(1, "ps", "t", "", {}, b"x")
    (tmp_path / "file").unlink()
    await keeper.hold(1, "ps", "t", "", {}, b"x")
    assert await keeper.next_due() == 1
    await keeper.close()


async def test_file_is_where_it_is_said_to_be(tmp_path: Path) -> None:
    keeper = Ledger(tmp_path / "what? #1 100%25" / "kept.db")
    await keeper.hold(1, "ps", "t", "", {}, b"x")
    assert keeper.is_there
    await keeper.close()


async def test_file_of_another_version_is_left_alone(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "kept.db")) as db:
        db.execute("PRAGMA user_version = 7")
    keeper = Ledger(tmp_path / "kept.db")
    with pytest.raises(ledger.Failed, match="tables are of version 7"):
        await keeper.hold(1, "ps", "t", "", {}, b"x")
    await keeper.close()


async def test_what_cannot_be_held_is_not_acknowledged(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    keeper = Ledger(tmp_path / "file" / "kept.db")
    broker = Broker("ps", Fake())
    one = Later(keeper, {"ps": broker}, ledger.Failed)
    with pytest.raises(PubSubError, match="cannot be held"):
        await one.hold(broker, Message("t", b"x", deliver_at=time() + 60))
    with pytest.raises(MetadataInvalid):
        one.due(broker, {"deliverAt": "never"})
    await keeper.close()


def test_nothing_is_made_before_something_is_kept(tmp_path: Path) -> None:
    assert not Ledger(tmp_path / "kept.db").is_there
    assert list(tmp_path.iterdir()) == []
