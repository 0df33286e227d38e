"""etcd's API over the file of a single scheduler, as a client of etcd uses it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pydapr.errors import Code, RpcError
from pydapr.net import etcd, server
from pydapr.proto.etcd import rpc_pb2 as pb
from pydapr.scheduler import etcd_watch
from pydapr.scheduler.etcd_api import EtcdApi, Place
from pydapr.scheduler.store import Write
from pydapr.scheduler.stores.sqlite import SqliteStore

SECONDS = 20
ALL = b"\0"


class World:
    """A store, its API, and a client of that."""

    def __init__(self, store: SqliteStore, client: etcd.Client) -> None:
        self.store, self.client = store, client

    async def put(self, key: bytes, value: bytes = b"v", **more: Any) -> pb.PutResponse:
        return await self.client.call("KV/Put", pb.PutRequest(key=key, value=value, **more), pb.PutResponse)

    async def range(self, key: bytes = ALL, end: bytes = ALL, **more: Any) -> pb.RangeResponse:
        request = pb.RangeRequest(key=key, range_end=end, **more)
        return await self.client.call("KV/Range", request, pb.RangeResponse)

    async def keys(self, **more: Any) -> list[bytes]:
        return [one.key for one in (await self.range(**more)).kvs]

    async def transact(self, request: pb.TxnRequest) -> pb.TxnResponse:
        return await self.client.call("KV/Txn", request, pb.TxnResponse)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = SqliteStore(str(tmp_path), 4 << 20)
    await store.open()
    one = server.Server(EtcdApi(store, Place("s-0", "http://a:2380", "http://a:2379", 3)).methods())
    client = etcd.Client([f"127.0.0.1:{await one.listen('127.0.0.1', 0)}"])
    yield World(store, client)
    client.close()
    await one.stop(1)
    await store.close()


async def test_a_key_remembers_who_made_it_and_how_often_it_was_written(world: World) -> None:
    made = await world.put(b"a")
    changed = await world.put(b"a", b"w", prev_kv=True)

    (found,) = (await world.range(b"a", b"")).kvs

    assert (found.create_revision, found.mod_revision) == (made.header.revision, changed.header.revision)
    assert (found.version, found.value, changed.prev_kv.value) == (2, b"w", b"v")


async def test_ranges_are_limited_counted_and_ordered(world: World) -> None:
    for key in (b"c", b"a", b"d", b"b"):
        await world.put(key, key * 2)

    limited = await world.range(limit=2)
    assert ([one.key for one in limited.kvs], limited.more, limited.count) == ([b"a", b"b"], True, 4)
    assert (await world.range(b"b", b"d", count_only=True)).count == 2
    only_keys = await world.range(keys_only=True)
    assert [one.value for one in only_keys.kvs] == [b""] * 4
    descending, by_revision = pb.RangeRequest.DESCEND, pb.RangeRequest.MOD
    assert await world.keys(sort_order=descending, sort_target=by_revision, limit=3) == [b"b", b"d", b"a"]
    assert await world.keys(min_mod_revision=only_keys.header.revision - 1) == [b"b", b"d"]


async def test_a_past_that_is_not_kept_is_told_as_compacted(world: World) -> None:
    revision = (await world.put(b"a")).header.revision
    await world.put(b"a")

    assert await world.keys(revision=revision + 1) == [b"a"]
    with pytest.raises(etcd.Failed, match="required revision has been compacted") as told:
        await world.keys(revision=revision)
    assert told.value.code == Code.OUT_OF_RANGE
    with pytest.raises(etcd.Failed, match="required revision is a future revision"):
        await world.keys(revision=revision + 9)


async def test_a_transaction_does_one_branch_at_one_revision(world: World) -> None:
    revision = (await world.put(b"a")).header.revision
    request = pb.TxnRequest()
    request.compare.add(key=b"a", target=pb.Compare.MOD, mod_revision=revision)
    request.compare.add(key=b"b", target=pb.Compare.CREATE, create_revision=0)
    request.success.add().request_put.CopyFrom(pb.PutRequest(key=b"b", value=b"1"))
    request.success.add().request_delete_range.CopyFrom(pb.DeleteRangeRequest(key=b"a"))
    request.failure.add().request_range.CopyFrom(pb.RangeRequest(key=ALL, range_end=ALL))

    first, second = await world.transact(request), await world.transact(request)

    assert first.succeeded and first.header.revision == revision + 1
    assert first.responses[1].response_delete_range.deleted == 1
    assert not second.succeeded and second.header.revision == revision + 1
    assert [one.mod_revision for one in second.responses[0].response_range.kvs] == [revision + 1]


async def test_of_a_transaction_that_fails_nothing_is_written(world: World) -> None:
    request = pb.TxnRequest()
    request.success.add().request_put.CopyFrom(pb.PutRequest(key=b"a"))
    request.success.add().request_put.CopyFrom(pb.PutRequest(key=b"b", lease=77))

    with pytest.raises(etcd.Failed, match="requested lease not found"):
        await world.transact(request)

    assert not await world.keys()
    await world.put(b"c")
    assert await world.keys() == [b"c"]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ([b"a", b"a"], "duplicate key given in txn request"),
        ([b"a", b"b", b"c", b"d"], "too many operations in txn request"),
        ([b""], "key is not provided"),
    ],
)
async def test_a_transaction_that_makes_no_sense_is_refused(world: World, keys: list[bytes], told: str) -> None:
    request = pb.TxnRequest()
    for key in keys:
        request.success.add().request_put.CopyFrom(pb.PutRequest(key=key))

    with pytest.raises(etcd.Failed, match=told) as refused:
        await world.transact(request)

    assert refused.value.code == Code.INVALID_ARGUMENT


async def watch(world: World, first: int) -> list[pb.WatchResponse]:
    """What a watch of everything is told until it is cancelled, or has two events."""
    stream = await world.client.stream("Watch/Watch")
    asked = pb.WatchCreateRequest(key=ALL, range_end=ALL, start_revision=first)
    await stream.send(pb.WatchRequest(create_request=asked).SerializeToString())
    answers: list[pb.WatchResponse] = []
    async with asyncio.timeout(SECONDS):
        while sum(len(one.events) for one in answers) < 2 and not any(one.canceled for one in answers):
            message = await stream.receive()
            assert message is not None
            answers.append(pb.WatchResponse.FromString(message))
            if len(answers) == 1 and not first:
                await world.put(b"a")
                await world.store.commit([Write("a", None)])
    stream.close()
    return answers


@pytest.mark.parametrize("past", [0, 1])
async def test_a_watch_tells_changes_from_now_on_or_from_the_last_ones_that_are_kept(world: World, past: int) -> None:
    first = 0
    if past:
        first = (await world.put(b"a")).header.revision
        await world.store.commit([Write("a", None)])

    created, *told = await watch(world, first)

    assert created.created
    events = [event for one in told for event in one.events]
    assert [(one.type, one.kv.key) for one in events] == [(pb.Event.PUT, b"a"), (pb.Event.DELETE, b"a")]


async def test_a_watch_of_a_past_that_is_not_kept_is_cancelled(world: World) -> None:
    await world.put(b"a")
    await world.client.call("KV/Compact", pb.CompactionRequest(revision=world.store.revision), pb.CompactionResponse)

    created, cancelled = await watch(world, 1)

    assert created.created and cancelled.canceled
    assert cancelled.compact_revision == world.store.revision
    assert "compacted" in cancelled.cancel_reason


async def test_leases_are_shown_with_their_keys_and_end_when_revoked(world: World) -> None:
    granted = await world.client.call("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=60), pb.LeaseGrantResponse)
    await world.put(b"a", lease=granted.ID)

    listed = await world.client.call("Lease/LeaseLeases", pb.LeaseLeasesRequest(), pb.LeaseLeasesResponse)
    asked = pb.LeaseTimeToLiveRequest(ID=granted.ID, keys=True)
    left = await world.client.call("Lease/LeaseTimeToLive", asked, pb.LeaseTimeToLiveResponse)
    await world.client.call("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=granted.ID), pb.LeaseRevokeResponse)

    assert [one.ID for one in listed.leases] == [granted.ID]
    assert (left.grantedTTL, list(left.keys)) == (60, [b"a"]) and 0 < left.TTL <= 60
    assert not await world.keys()
    with pytest.raises(etcd.Failed, match="requested lease not found") as told:
        await world.client.call("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=granted.ID), pb.LeaseRevokeResponse)
    assert told.value.code == Code.NOT_FOUND


async def test_a_full_quota_raises_an_alarm_that_ends_when_there_is_room(world: World) -> None:
    async def alarms() -> list[int]:
        answer = await world.client.call("Maintenance/Alarm", pb.AlarmRequest(), pb.AlarmResponse)
        return [one.alarm for one in answer.alarms]

    with pytest.raises(etcd.Failed, match="etcdserver: mvcc: database space exceeded") as told:
        for number in range(100):
            await world.put(b"fill/%d" % number, b"x" * 100_000)
    assert told.value.code == Code.RESOURCE_EXHAUSTED
    assert await alarms() == [pb.NOSPACE]
    status = await world.client.call("Maintenance/Status", pb.StatusRequest(), pb.StatusResponse)
    assert status.dbSize >= status.dbSizeInUse > 3 << 20 and list(status.errors)

    await world.client.call("KV/DeleteRange", pb.DeleteRangeRequest(key=ALL, range_end=ALL), pb.DeleteRangeResponse)
    await world.client.call("Maintenance/Defragment", pb.DefragmentRequest(), pb.DefragmentResponse)

    assert not await alarms()
    await world.put(b"a")


async def test_the_one_member_names_itself_and_asks_nobody_who_he_is(world: World) -> None:
    members = await world.client.call("Cluster/MemberList", pb.MemberListRequest(), pb.MemberListResponse)

    assert [(one.name, list(one.peerURLs)) for one in members.members] == [("s-0", ["http://a:2380"])]
    with pytest.raises(etcd.Failed, match="authentication is not enabled"):
        await world.client.call("Auth/Authenticate", pb.AuthenticateRequest(name="x"), pb.AuthenticateResponse)
    with pytest.raises(etcd.Failed, match="unknown method MemberAdd"):
        await world.client.call("Cluster/MemberAdd", pb.MemberListRequest(), pb.MemberListResponse)


async def test_who_asks_and_does_not_read_is_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_watch, "MOST_WAITING", 100_000)
    stream = await world.client.stream("Watch/Watch")
    asked = pb.WatchRequest(progress_request=pb.WatchProgressRequest()).SerializeToString()

    async with asyncio.timeout(SECONDS):
        with pytest.raises(RpcError):
            while True:
                await stream.send(asked)
        with pytest.raises(RpcError, match="not read"):
            while True:
                await stream.receive()
    stream.close()
