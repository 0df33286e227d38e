"""Asking schedulers and hearing from them, whatever becomes of them meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from tests.unit.peers.fake_scheduler import FakeScheduler, refusing

from pydapr.errors import Code, RpcError
from pydapr.lib.actors import Packed
from pydapr.net import dial, http2_pool
from pydapr.peers import job_streams, scheduler
from pydapr.peers.scheduling import Due, FailurePolicy, Job, Owner
from pydapr.proto.dapr.proto.scheduler.v1 import scheduler_pb2 as pb

Made = Callable[..., Awaitable[FakeScheduler]]
Client = Callable[..., scheduler.Scheduler]


@pytest.fixture
async def made() -> AsyncIterator[Made]:
    """Schedulers that listen."""
    all_ = []

    async def one(port: int = 0) -> FakeScheduler:
        all_.append(await FakeScheduler().start(port))
        return all_[-1]

    yield one
    for fake in all_:
        await fake.stop()


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """Sidecars' clients that have begun."""
    monkeypatch.setattr(job_streams, "PAUSE_SECONDS", (0.01, 0.02))
    all_ = []

    def one(*addresses: str, streams: int = 1) -> scheduler.Scheduler:
        begun = scheduler.Scheduler(addresses, streams, "app", "ns", dial.address)
        begun.begin()
        all_.append(begun)
        return begun

    yield one
    for begun in all_:
        async with asyncio.timeout(10):
            await begun.close()


class Taker:
    """Takes what is due, and holds it while `gate` is closed."""

    def __init__(self, answer: bool = True) -> None:
        self.taken: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._answer = answer
        self._changed = asyncio.Condition()

    async def __call__(self, due: Due) -> bool:
        self.taken.append(due.name)
        async with self._changed:
            self._changed.notify_all()
        await self.gate.wait()
        return self._answer

    async def has(self, count: int) -> None:
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: len(self.taken) >= count)


# -- what is due --


async def test_a_stream_says_who_takes_what(made: Made, client: Client) -> None:
    fake = await made()
    asking = client(fake.address, streams=3)
    asking.take_jobs(True)
    asking.take_reminders(["b", "a", "b"])

    await fake.until(lambda: len(fake.live) == 3 and all(watch.types for watch in fake.live))

    [*_, watch] = fake.live
    assert (watch.initial.app_id, watch.initial.namespace) == ("app", "ns")
    assert watch.types == ["a", "b"]
    assert list(watch.initial.accept_job_types) == [pb.JOB_TARGET_TYPE_JOB, pb.JOB_TARGET_TYPE_ACTOR_REMINDER]
    assert asking.addresses == (fake.address,)


async def test_who_takes_nothing_has_no_stream(made: Made, client: Client) -> None:
    fake = await made()
    heard = asyncio.Event()
    asking = client(fake.address)
    asking.on_hosts = heard.set

    await asyncio.wait_for(heard.wait(), 10)

    assert fake.watches == []


@pytest.mark.parametrize("answer", [True, False])
async def test_what_became_of_a_job_is_told(made: Made, client: Client, answer: bool) -> None:
    fake = await made()
    asking = client(fake.address)
    seen: list[Due] = []

    async def take(due: Due) -> bool:
        seen.append(due)
        return answer

    asking.on_job = take
    asking.take_jobs(True)
    await fake.until(lambda: fake.live)
    await fake.live[0].give("j", data=b"x")
    await fake.until(lambda: fake.results)

    assert fake.results == [("j", answer)]
    assert seen == [Due("j", None, Packed("", b"x"))]


async def test_a_reminder_goes_to_the_actors(made: Made, client: Client) -> None:
    fake = await made()
    asking = client(fake.address)
    seen: list[Due] = []

    async def take(due: Due) -> bool:
        seen.append(due)
        return True

    asking.on_reminder = take
    asking.take_reminders(["cat"])
    await fake.until(lambda: fake.live)
    await fake.live[0].give("r", "cat")
    await fake.until(lambda: fake.results)

    assert seen == [Due("r", Owner("cat", "1"), None)]
    assert fake.results == [("r", True)]


async def test_a_fault_of_ours_is_a_failure_and_nothing_else(made: Made, client: Client) -> None:
    fake = await made()
    asking = client(fake.address)

    async def take(due: Due) -> bool:
        if due.name == "bad":
            raise ZeroDivisionError
        return True

    asking.on_job = take
    asking.take_jobs(True)
    await fake.until(lambda: fake.live)
    await fake.live[0].give("bad")
    await fake.live[0].give("good")
    await fake.until(lambda: len(fake.results) == 2)

    assert sorted(fake.results) == [("bad", False), ("good", True)]


async def test_one_that_takes_long_holds_up_no_other(made: Made, client: Client) -> None:
    fake = await made()
    asking = client(fake.address)
    slow = asyncio.Event()

    async def take(due: Due) -> bool:
        if due.name == "slow":
            await slow.wait()
        return True

    asking.on_job = take
    asking.take_jobs(True)
    await fake.until(lambda: fake.live)
    await fake.live[0].give("slow")
    await fake.live[0].give("fast")
    await fake.until(lambda: fake.results)
    assert fake.results == [("fast", True)]
    slow.set()
    await fake.until(lambda: len(fake.results) == 2)


# -- changes --


async def test_a_change_breaks_nothing_off(made: Made, client: Client) -> None:
    fake = await made()
    asking = client(fake.address)
    taker = asking.on_job = Taker()
    taker.gate.clear()
    asking.take_jobs(True)
    await fake.until(lambda: fake.live)
    [old] = fake.live
    await old.give("under way")
    await taker.has(1)

    asking.take_reminders(["cat"])
    await fake.until(lambda: len(fake.live) == 2)
    await old.give("came late, and still taken")
    await fake.live[1].give("on the new one")
    await taker.has(3)
    assert not old.is_over
    taker.gate.set()
    await fake.until(lambda: old.is_over)

    assert sorted(name for name, _ in fake.results) == ["came late, and still taken", "on the new one", "under way"]
    assert fake.given_back == []


async def test_what_is_not_taken_any_more_goes_back_unanswered(
    made: Made, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_streams, "HELD_SECONDS", 0.01)
    fake = await made()
    asking = client(fake.address)
    taker = asking.on_job = Taker()
    taker.gate.clear()
    asking.take_jobs(True)
    await fake.until(lambda: fake.live)
    [old] = fake.live
    await old.give("under way")
    await taker.has(1)

    asking.take_jobs(False)
    await old.give("too late")
    await fake.until(lambda: old.is_over)
    taker.gate.set()

    assert taker.taken == ["under way"]
    assert "too late" in fake.given_back
    assert fake.results == []


async def test_a_further_scheduler_leaves_the_streams_to_others_alone(made: Made, client: Client) -> None:
    one, two = await made(), await made()
    asking = client(one.address)
    asking.take_jobs(True)
    await one.until(lambda: one.live)

    await one.tell(one.address, two.address)
    await two.until(lambda: two.live)
    await one.tell(two.address)
    await one.until(lambda: not one.live)

    assert asking.addresses == (two.address,)
    assert (len(one.watches), len(two.watches)) == (1, 1)


async def test_a_scheduler_that_was_killed_is_found_again(made: Made, client: Client) -> None:
    fake = await made()
    asking = client(fake.address)
    taker = asking.on_job = Taker()
    asking.take_jobs(True)
    await fake.until(lambda: fake.live)
    await fake.stop()

    again = await made(fake.port)
    await again.until(lambda: again.live)
    await again.live[0].give("j")
    await again.until(lambda: again.results)

    assert taker.taken == ["j"]


async def test_one_that_is_gone_does_not_keep_others_from_being_found(made: Made, client: Client) -> None:
    gone, there = await made(), await made()
    await gone.stop()

    asking = client(gone.address, "no-such-host.invalid:1", "nonsense", there.address)
    asking.take_jobs(True)

    await there.until(lambda: there.live)


async def test_a_delivery_outlives_its_scheduler_and_does_not_hold_up_the_next_stream(
    made: Made, client: Client
) -> None:
    fake = await made()
    asking = client(fake.address)
    taker = asking.on_job = Taker()
    taker.gate.clear()
    asking.take_jobs(True)
    await fake.until(lambda: fake.live)
    await fake.live[0].give("slow")
    await taker.has(1)
    await fake.stop()

    again = await made(fake.port)
    await again.until(lambda: again.live)
    taker.gate.set()
    await asking.drain()


async def test_the_end_waits_for_what_is_under_way_and_its_answer(made: Made, client: Client) -> None:
    fake = await made()
    asking = client(fake.address)
    taker = asking.on_job = Taker()
    taker.gate.clear()
    asking.take_jobs(True)
    await fake.until(lambda: fake.live)
    await fake.live[0].give("last")
    await taker.has(1)

    ending = asyncio.create_task(asking.drain())
    await asyncio.sleep(0)
    asking.take_reminders(["too late"])
    taker.gate.set()
    await asyncio.wait_for(ending, 10)

    assert fake.results == [("last", True)]
    assert fake.live == []


# -- what they are asked --

EVERYTHING = Job("@every 1m", 3, "10s", "1h", Packed("t", b"d"), FailurePolicy(False, 1.5, 0))


@pytest.mark.parametrize(
    "job",
    [
        EVERYTHING,
        Job(due_time="0s"),
        Job(schedule="", data=Packed("", b"")),
        Job(due_time="0s", failure_policy=FailurePolicy(True)),
        Job(due_time="0s", failure_policy=FailurePolicy(False)),
    ],
)
async def test_a_job_comes_back_as_it_was_given(made: Made, client: Client, job: Job) -> None:
    fake = await made()
    asking = client(fake.address)

    await asking.schedule("j", job, Owner("cat", "7"), False, "key")
    request = pb.ScheduleJobRequest.FromString(fake.asked[0][1])
    fake.answers["GetJob"] = lambda _: pb.GetJobResponse(job=request.job).SerializeToString()

    assert await asking.get("j", None) == job
    assert (request.name, request.overwrite, request.metadata.concurrency_key) == ("j", False, "key")
    assert (request.metadata.app_id, request.metadata.namespace) == ("app", "ns")
    assert (request.metadata.target.actor.type, request.metadata.target.actor.id) == ("cat", "7")


async def test_a_listing(made: Made, client: Client) -> None:
    fake = await made()
    asking = client(fake.address)
    answer = pb.ListJobsResponse()
    answer.jobs.add(name="a", job=pb.Job(due_time="1s")).metadata.target.job.SetInParent()
    answer.jobs.add(name="b", job=pb.Job(due_time="2s")).metadata.target.actor.type = "cat"
    fake.answers["ListJobs"] = lambda _: answer.SerializeToString()

    found = await asking.list(None)

    assert [(one.name, one.owner, one.job.due_time) for one in found] == [
        ("a", None, "1s"),
        ("b", Owner("cat", ""), "2s"),
    ]


async def test_what_is_to_be_forgotten(made: Made, client: Client) -> None:
    fake = await made()
    asking = client(fake.address)

    await asking.delete("j", None)
    await asking.delete_owned(Owner("cat", "1"))
    await asking.delete_owned(Owner("cat", "1"), id_is_prefix=True)
    await asking.delete_by_prefix("p")

    assert [name for name, _ in fake.asked] == [
        "DeleteJob",
        "DeleteByMetadata",
        "DeleteByMetadata",
        "DeleteByNamePrefix",
    ]
    exact, prefix = (pb.DeleteByMetadataRequest.FromString(data) for name, data in fake.asked if "Meta" in name)
    assert (exact.id_prefix_match, prefix.id_prefix_match) == (False, True)
    assert pb.DeleteByNamePrefixRequest.FromString(fake.asked[-1][1]).name_prefix == "p"


async def test_an_error_is_the_schedulers(made: Made, client: Client) -> None:
    fake = await made()
    fake.answers["GetJob"] = refusing(Code.NOT_FOUND, "job not found: j")

    with pytest.raises(RpcError, match="code = NotFound desc = job not found: j"):
        await client(fake.address).get("j", None)

    assert len(fake.asked) == 1


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.CANCELLED])
async def test_one_that_is_shutting_down_is_asked_again(made: Made, client: Client, code: Code) -> None:
    fake = await made()
    fake.answers["DeleteJob"] = refusing(code, "shutting down", times=2)

    await client(fake.address).delete("j", None)

    assert len(fake.asked) == 3


async def test_a_job_that_may_not_overwrite_is_not_sent_twice(made: Made, client: Client) -> None:
    fake = await made()
    fake.answers["ScheduleJob"] = refusing(Code.UNAVAILABLE, "the answer was lost")

    with pytest.raises(RpcError, match="the answer was lost"):
        await client(fake.address).schedule("j", EVERYTHING, None, overwrite=False)

    assert len(fake.asked) == 1


async def test_all_schedulers_have_their_turn_and_one_that_is_gone_costs_nothing(made: Made, client: Client) -> None:
    one, two, gone = await made(), await made(), await made()
    await gone.stop()
    one.hosts = [one.address, gone.address, two.address]
    asking = client(one.address)

    async with asyncio.timeout(10):
        for number in range(12):
            await asking.delete(str(number), None)

    assert len(one.asked) + len(two.asked) == 12
    assert min(len(one.asked), len(two.asked)) >= 4


async def test_one_that_takes_connections_and_says_nothing_is_passed_over(
    made: Made, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "PATIENCE", http2_pool.Patience(connect=0.05))
    monkeypatch.setattr(scheduler, "FIRST_SECONDS", 0.05)
    there = await made()
    mute = FakeScheduler()
    mute.hold = True
    await mute.start()
    connected: list[asyncio.StreamWriter] = []
    deaf = await asyncio.start_server(lambda _, writer: connected.append(writer), "127.0.0.1", 0)
    nobody = f"127.0.0.1:{deaf.sockets[0].getsockname()[1]}"
    there.hosts = [nobody, there.address]
    asking = client(nobody, mute.address, there.address)
    asking.take_jobs(True)

    async with asyncio.timeout(10):
        await there.until(lambda: there.live)
        for number in range(4):
            await asking.delete(str(number), None)

    assert len(there.asked) == 4
    await asking.close()
    deaf.close()
    for writer in connected:
        writer.close()
    await mute.stop()


async def test_a_call_waits_for_a_scheduler_to_come(made: Made, client: Client) -> None:
    fake = await made()
    await fake.stop()
    asking = client(fake.address)
    waiting = asyncio.create_task(asking.delete("j", None))
    await asyncio.sleep(0)
    assert not waiting.done()

    again = await made(fake.port)
    await asyncio.wait_for(waiting, 10)

    assert [name for name, _ in again.asked] == ["DeleteJob"]


async def test_no_call_that_waits_for_a_scheduler_holds_up_the_end(made: Made, client: Client) -> None:
    fake = await made()
    await fake.stop()
    asking = client(fake.address)
    waiting = asyncio.create_task(asking.delete("j", None))
    await asyncio.sleep(0)

    await asking.drain()

    with pytest.raises(RpcError, match="shutting down"):
        await asyncio.wait_for(waiting, 10)


async def test_a_call_does_not_wait_for_ever(made: Made, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "CALL_SECONDS", 0.2)
    fake = await made()
    await fake.stop()

    with pytest.raises(RpcError) as failed:
        await client(fake.address).delete("j", None)

    assert failed.value.code == Code.DEADLINE_EXCEEDED
