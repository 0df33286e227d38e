"""pubsub.sqlite beyond what every broker promises: its file's bounds, killed processes, missing bells, its options."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import pytest

from pydapr import components
from pydapr.components import Wrong
from pydapr.components.pubsub import Entry, Message, NotProcessed, PubSub, PubSubError

SECONDS = 30.0

HOLDER = """
import asyncio, sys
from pydapr import components

async def main():
    found = components.find("pubsub.sqlite")
    broker = found.make(components.read(found.options, {"connectionString": sys.argv[1], "consumerID": "app"}))
    await broker.open()

    async def hold(message):
        print("held", message.data.decode(), flush=True)
        await asyncio.Event().wait()

    await broker.subscribe("orders", {}, hold)
    print("subscribed", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def make(path: Path, **metadata: str) -> PubSub:
    found = components.find("pubsub.sqlite")
    assert found is not None
    made = found.make(components.read(found.options, {"connectionString": str(path), "consumerID": "app", **metadata}))
    assert isinstance(made, PubSub)
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pubsub.db"


@pytest.fixture
async def opened(path: Path) -> AsyncIterator[Callable[..., Awaitable[PubSub]]]:
    async with contextlib.AsyncExitStack() as stack:

        async def one(**metadata: str) -> PubSub:
            made = make(path, **metadata)
            stack.push_async_callback(made.close)
            await made.open()
            return made

        yield one


Opened = Callable[..., Awaitable[PubSub]]


class Inbox:
    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.changed = asyncio.Condition()

    async def take(self, message: Message) -> None:
        async with self.changed:
            self.data.append(message.data)
            self.changed.notify_all()

    async def has(self, *wanted: bytes) -> None:
        async with asyncio.timeout(SECONDS), self.changed:
            await self.changed.wait_for(lambda: set(wanted) <= set(self.data))


async def publish(broker: PubSub, *data: bytes, topic: str = "orders", **metadata: str) -> None:
    for one in data:
        await broker.publish(Message(topic, one, metadata))


def size(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None


def rows(path: Path, table: str) -> int:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return int(db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])


async def empties(path: Path) -> None:
    """Waits until no message is left in the file."""
    await until(lambda: not rows(path, "messages") and not rows(path, "pending"))


async def until(is_true: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS):
        while not is_true():  # noqa: ASYNC110  # a file tells nobody
            await asyncio.sleep(0.01)


# -- other processes --


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another sidecar of the app, whose handler never ends."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    with process:
        yield process
        process.kill()


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


async def test_what_a_killed_sidecar_had_goes_to_others_at_once(
    opened: Opened, path: Path, holder: subprocess.Popen[str]
) -> None:
    broker, inbox = await opened(visibilityTimeout="10m"), Inbox()
    assert says(holder) == "subscribed"
    await publish(broker, b"1")
    assert says(holder) == "held 1"
    await broker.subscribe("orders", {}, inbox.take)

    holder.send_signal(signal.SIGKILL)

    await inbox.has(b"1")
    await empties(path)


async def test_what_a_killed_sidecar_had_goes_to_who_comes_after_it(
    opened: Opened, path: Path, holder: subprocess.Popen[str]
) -> None:
    assert says(holder) == "subscribed"
    await publish(await opened(), b"1")
    assert says(holder) == "held 1"
    holder.kill()
    holder.wait()
    inbox = Inbox()

    await (await opened(visibilityTimeout="10m")).subscribe("orders", {}, inbox.take)

    await inbox.has(b"1")


async def test_sidecar_that_stands_still_loses_what_it_had(
    opened: Opened, path: Path, holder: subprocess.Popen[str]
) -> None:
    assert says(holder) == "subscribed"
    broker, inbox = await opened(), Inbox()
    await publish(broker, b"1")
    assert says(holder) == "held 1"
    holder.send_signal(signal.SIGSTOP)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE pending SET due = 0")  # as if its time were over

    await broker.subscribe("orders", {}, inbox.take)

    await inbox.has(b"1")


async def test_message_whose_publisher_was_killed_before_it_rang_is_found(opened: Opened, path: Path) -> None:
    inbox = Inbox()
    await (await opened()).subscribe("orders", {}, inbox.take)
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "INSERT INTO messages (topic, published, content_type, metadata, data) VALUES ('orders', ?, '', '', ?)",
            (time.time_ns() // 1_000_000, b"1"),
        )

    await inbox.has(b"1")


async def test_without_bells_messages_are_found_as_well(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / ("x" * 120)))
    folder = tmp_path / ("y" * 120)
    folder.mkdir()
    reader, publisher = (make(folder / "pubsub.db") for _ in range(2))
    inbox = Inbox()
    await reader.open()
    await publisher.open()
    await reader.subscribe("orders", {}, inbox.take)

    await publish(publisher, b"1")

    await inbox.has(b"1")
    await reader.close()
    await publisher.close()


async def test_message_whose_time_ran_out_while_the_machine_slept_is_not_begun_twice(
    opened: Opened, path: Path
) -> None:
    begun, gate = list[bytes](), asyncio.Event()

    async def take(message: Message) -> None:
        begun.append(message.data)
        await gate.wait()

    broker = await opened()
    subscription = await broker.subscribe("orders", {}, take)
    await publish(broker, b"1")
    await until(lambda: begun == [b"1"])
    with contextlib.closing(sqlite3.connect(path, timeout=SECONDS)) as db:
        db.execute("UPDATE pending SET due = 1")
        db.commit()
    await publish(broker, b"2")
    await until(lambda: b"2" in begun)
    gate.set()

    await empties(path)
    async with asyncio.timeout(SECONDS):
        await subscription.close()
    assert begun == [b"1", b"2"]


async def test_who_lost_its_bell_is_not_taken_for_dead(opened: Opened, path: Path) -> None:
    first, begun, gate = await opened(), asyncio.Event(), asyncio.Event()

    async def take(message: Message) -> None:
        begun.set()
        await gate.wait()

    await first.subscribe("orders", {}, take)
    with contextlib.closing(sqlite3.connect(path)) as db:
        [(bell,)] = db.execute("SELECT bell FROM members").fetchall()
    os.unlink(bell)
    await until(Path(bell).exists)
    second, other = Inbox(), await opened()
    await publish(first, b"1")
    async with asyncio.timeout(SECONDS):
        await begun.wait()
    await other.subscribe("orders", {}, second.take)

    assert rows(path, "members") == 2
    assert second.data == []
    gate.set()
    await empties(path)


async def test_file_that_was_taken_away_is_made_again(opened: Opened, path: Path) -> None:
    broker, inbox = await opened(), Inbox()
    await broker.subscribe("orders", {}, inbox.take)
    await publish(broker, b"1")
    await inbox.has(b"1")
    for one in path.parent.glob("pubsub.db*"):
        if one.is_file():
            one.unlink()

    await publish(broker, b"2")

    assert rows(path, "messages") == 1
    await inbox.has(b"2")


async def test_message_that_takes_longer_than_its_time_stays_with_who_has_it(opened: Opened, path: Path) -> None:
    tries = 0
    done, may_end = asyncio.Event(), asyncio.Event()

    async def slow(message: Message) -> None:
        nonlocal tries
        tries += 1
        await may_end.wait()
        done.set()

    inbox = Inbox()
    first, second = await opened(visibilityTimeout="1s"), await opened(visibilityTimeout="1s")
    await first.subscribe("orders", {}, slow)
    await publish(first, b"slow")
    await until(lambda: tries)
    await second.subscribe("orders", {}, inbox.take)

    await asyncio.sleep(2.2)  # twice the time: it is renewed, and time itself is waited for
    may_end.set()
    async with asyncio.timeout(SECONDS):
        await done.wait()
    await empties(path)

    assert (tries, inbox.data) == (1, [])


# -- the file --


async def test_full_file_refuses_and_takes_again_when_there_is_room(opened: Opened, path: Path) -> None:
    broker, inbox = await opened(maxSize=str(64 * 4096)), Inbox()
    subscription = await broker.subscribe("orders", {}, inbox.take)
    await subscription.close()

    published = 0
    with pytest.raises(PubSubError, match=r"pubsub.db is full: it has the 262144 bytes that `maxSize` allows"):
        for published in range(1000):
            await publish(broker, b"%03d" % published + bytes(4000))
    with pytest.raises(PubSubError, match="is full"):
        await broker.publish_many("orders", [Entry("1", Message("orders", bytes(9000)))], {})

    assert 10 < published < 64
    await broker.subscribe("orders", {}, inbox.take)
    await inbox.has(*(b"%03d" % number + bytes(4000) for number in range(published)))
    await empties(path)
    await publish(broker, b"again")
    await inbox.has(b"again")


async def test_topics_that_nobody_reads_make_room_for_others(opened: Opened, path: Path) -> None:
    broker, inbox = await opened(maxSize=str(64 * 4096)), Inbox()
    await (await broker.subscribe("orders", {}, inbox.take)).close()
    await publish(broker, b"wanted")

    for number in range(200):
        await publish(broker, b"%03d" % number + bytes(4000), topic="nobody's")

    await broker.subscribe("orders", {}, inbox.take)
    await inbox.has(b"wanted")
    assert (size(path) or 0) <= 64 * 4096


async def test_what_is_done_leaves_nothing_in_the_file(opened: Opened, path: Path) -> None:
    broker, inbox = await opened(), Inbox()
    await broker.subscribe("orders", {}, inbox.take)
    await (await opened(consumerID="other")).subscribe("orders", {}, inbox.take)

    await publish(broker, *(b"%d" % number for number in range(100)))

    await inbox.has(*(b"%d" % number for number in range(100)))
    await empties(path)


async def test_members_are_forgotten_when_they_leave(opened: Opened, path: Path) -> None:
    broker, inbox = await opened(), Inbox()
    subscription = await broker.subscribe("orders", {}, inbox.take)
    assert rows(path, "members") == 1

    await subscription.close()
    assert rows(path, "members") == 0
    await broker.close()
    assert size(Path(f"{path}-bells")) is None


async def test_members_are_forgotten_when_the_broker_is_closed_before_them(opened: Opened, path: Path) -> None:
    broker, inbox = await opened(), Inbox()
    await broker.subscribe("orders", {}, inbox.take)

    await broker.close()

    assert rows(path, "members") == 0


async def test_order_of_a_key_holds_across_members(opened: Opened, path: Path) -> None:
    seen: dict[str, list[int]] = {}
    refused: set[bytes] = set()

    async def take(message: Message) -> None:
        if message.data.endswith(b"7") and message.data not in refused:
            refused.add(message.data)
            raise NotProcessed("not yet")
        key, _, number = message.data.decode().partition(" ")
        seen.setdefault(key, []).append(int(number))

    for _ in range(3):
        await (await opened(redeliverInterval="10ms")).subscribe("orders", {}, take)
    publisher = await opened()

    async def publish_all(key: str) -> None:
        for number in range(30):
            await publish(publisher, f"{key} {number}".encode(), orderingKey=key)

    await asyncio.gather(*(publish_all(key) for key in "abcd"))
    await empties(path)

    assert seen == {key: list(range(30)) for key in "abcd"}


# -- requests and options --


async def test_file_is_opened_when_it_is_used_if_that_is_wanted(opened: Opened, path: Path) -> None:
    broker = await opened(openOnUse="true")
    assert size(path) is None

    await publish(broker, b"1")

    assert rows(path, "messages") == 1


async def test_file_that_cannot_be_had_later_is_an_error_each_time(tmp_path: Path) -> None:
    broker = make(tmp_path / "none" / "pubsub.db", openOnUse="true")
    await broker.open()

    for _ in range(2):
        with pytest.raises(PubSubError, match="unable to open database file"):
            await publish(broker, b"1")
    (tmp_path / "none").mkdir()
    await publish(broker, b"1")
    await broker.close()


@pytest.fixture
def no_database(path: Path) -> Path:
    path.write_text("no database, and longer than its header is " * 10)
    return path


async def test_file_that_is_none_is_refused(no_database: Path) -> None:
    broker = make(no_database)

    with pytest.raises(OSError, match=r"pubsub.db: file is not a database"):
        await broker.open()
    await broker.close()


@pytest.mark.parametrize("ttl", ["-1", "soon", "1.5", "1_0"])
async def test_time_that_is_none_is_refused(opened: Opened, ttl: str) -> None:
    broker = await opened()

    with pytest.raises(PubSubError, match="ttl value must be"):
        await publish(broker, b"1", ttlInSeconds=ttl)
    entries = [Entry("a", Message("t", b"1", {"ttlInSeconds": ttl})), Entry("b", Message("t", b"2"))]
    assert (await broker.publish_many("t", entries, {})).keys() == {"a"}


@pytest.mark.parametrize(
    ("name", "text", "seconds"),
    [
        ("ttlInSeconds", "10", 10),
        ("TTLinseconds", "10", 10),
        ("ttl", "1m30s", 90),
        ("ttl", "5", 5),
        ("ttl", str(2**63 - 1), 1e10),
    ],
)
async def test_time_of_a_message_is_seconds_or_a_duration(
    opened: Opened, path: Path, name: str, text: str, seconds: float
) -> None:
    before = time.time()
    await publish(await opened(), b"1", **{name: text})

    with contextlib.closing(sqlite3.connect(path)) as db:
        [expires] = db.execute("SELECT expires FROM messages").fetchone()
    assert before + seconds - 1 <= expires / 1000 <= time.time() + seconds


@pytest.mark.parametrize("concurrency", ["0", "-1", "many"])
async def test_concurrency_that_is_none_is_refused(opened: Opened, concurrency: str) -> None:
    with pytest.raises(PubSubError, match="concurrency"):
        await (await opened()).subscribe("orders", {"concurrency": concurrency}, Inbox().take)


async def test_no_more_are_under_way_than_a_subscription_wants(opened: Opened, path: Path) -> None:
    broker = await opened()
    running = most = 0

    async def take(message: Message) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    await broker.subscribe("orders", {"concurrency": "3"}, take)
    await broker.publish_many("orders", [Entry(str(n), Message("orders", b"%d" % n)) for n in range(40)], {})
    await empties(path)

    assert most == 3


async def test_place_to_go_on_that_never_was_is_refused(opened: Opened) -> None:
    with pytest.raises(PubSubError, match="no message 'x'"):
        await (await opened()).browse("orders", "x", 10, {})


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"connectionString": ":memory:"}, "pubsub.in-memory"),
        ({"concurrency": "0"}, "concurrency"),
        ({"visibilityTimeout": "10ms"}, "visibilityTimeout"),
        ({"retention": "59s"}, "retention"),
        ({"maxSize": "0"}, "maxSize"),
        ({"timeout": "10ms"}, "timeout"),
        ({"redeliverInterval": "0"}, "redeliverInterval"),
    ],
)
def test_options_that_make_no_sense_are_refused(path: Path, metadata: Mapping[str, str], reason: str) -> None:
    with pytest.raises(Wrong, match=reason):
        make(path, **metadata)


async def test_closing_does_not_wait_for_a_database_that_never_answers(opened: Opened, path: Path) -> None:
    broker, inbox = await opened(timeout="1s", busyTimeout="10ms"), Inbox()
    subscription = await broker.subscribe("orders", {}, inbox.take)
    await publish(broker, b"1")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        await inbox.has(b"1")
        other.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(SECONDS):
            await subscription.close()
            await broker.close()
        other.execute("ROLLBACK")


async def test_closed_broker_takes_nothing(opened: Opened) -> None:
    broker = await opened()
    await broker.close()

    with pytest.raises(PubSubError):
        await publish(broker, b"1")
    with pytest.raises(PubSubError):
        await broker.subscribe("orders", {}, Inbox().take)
