"""Members and sidecars that show who they are: with our sentry."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import grpc
import pytest
from tests.integration import harness
from tests.integration.placement.conftest import Cluster
from tests.integration.placement.members import Member, Stream
from tests.integration.sentry.authority import Authority

from pydapr.errors import Code, RpcError
from pydapr.net import grpc_client, http2_client, http2_pool
from pydapr.placement import cluster as elections
from pydapr.placement.service import PATH
from pydapr.proto.dapr.proto.placement.v1 import placement_pb2
from pydapr.security import spiffe, tls
from pydapr.wire import http2

PLACEMENT = spiffe.Id("localhost", "default", "dapr-placement")


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    made = Authority(tmp_path).await_ready()
    yield made
    made.kill()


@pytest.fixture
def ports() -> dict[str, int]:
    return {name: harness.free_port() for name in ("p1", "p2", "p3")}


@pytest.fixture
def members(authority: Authority, tmp_path: Path, ports: dict[str, int]) -> Iterator[Cluster]:
    anchors = authority.credentials / "ca.crt"
    flags = "--tls-enabled", f"--sentry-address={authority.address}", f"--trust-anchors-file={anchors}"
    made = Cluster(Member(tmp_path, ports, name, *flags) for name in ports)
    for member in made:
        member.await_ready()
    yield made
    for member in made:
        member.kill()
        print(member.log)  # noqa: T201 - pytest shows it with a failure


@pytest.fixture
async def pool(authority: Authority) -> AsyncIterator[http2_pool.Pool]:
    """Connections of the sidecar of `myapp` to placement."""
    source = await authority.source("myapp")
    made = http2_pool.Pool(tls.connector(source.client_context, lambda found: found == PLACEMENT), http2.Limits())
    yield made
    made.close()


async def first_word(pool: http2_pool.Pool, member: Member, app_id: str, namespace: str) -> str:
    """What a sidecar is ordered that says this of itself. Raises `RpcError`."""
    connection = await pool.connection(f"localhost:{member.port}")
    stream = grpc_client.Stream(connection, PATH, "placement")
    try:
        await stream.send(placement_pb2.Host(name="a", id=app_id, namespace=namespace).SerializeToString())
        return placement_pb2.PlacementOrder.FromString(await stream.receive() or b"").operation
    finally:
        stream.close()


async def test_sidecars_speak_for_themselves_only(members: Cluster, pool: http2_pool.Pool) -> None:
    leader = members.leader()
    assert await first_word(pool, leader, "myapp", "default") == "lock"
    for app_id, namespace in (("other", "default"), ("myapp", "elsewhere")):
        with pytest.raises(RpcError) as refused:
            await first_word(pool, leader, app_id, namespace)
        assert refused.value.code == Code.PERMISSION_DENIED


async def test_sidecars_take_no_part_in_elections(
    members: Cluster, ports: dict[str, int], pool: http2_pool.Pool
) -> None:
    connection = await pool.connection(f"localhost:{ports['p1']}")
    with pytest.raises(RpcError) as refused:
        await grpc_client.call(connection, elections.PATH, "placement", b"{}", 10.0)
    assert refused.value.code == Code.PERMISSION_DENIED


def test_who_shows_nothing_is_nobody(members: Cluster) -> None:
    leader = members.leader()
    stream = Stream(leader.address, "a", "Cat")
    assert stream.failure()[0] == grpc.StatusCode.UNAVAILABLE
    stream.close()
    assert leader.state() == {}


def test_another_leads_after_a_kill(members: Cluster) -> None:
    first = members.leader()
    first.kill()
    assert members.leader(limit=10) is not first


SHORT = """
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: sentry
spec:
  mtls:
    enabled: true
    workloadCertTTL: "4s"
    allowedClockSkew: "1s"
"""


async def test_streams_outlive_certificates_and_a_sentry_that_is_away_for_longer_than_these(tmp_path: Path) -> None:
    sentry = Authority(tmp_path, configuration=SHORT).await_ready()
    anchors, port = sentry.credentials / "ca.crt", sentry.port
    flags = "--tls-enabled", f"--sentry-address={sentry.address}", f"--trust-anchors-file={anchors}"
    member = Member(tmp_path, {"p1": harness.free_port()}, "p1", *flags)
    opened: list[http2_pool.Pool] = []
    connections: list[http2_client.ClientConnection] = []

    async def until(is_so: Callable[[], bool], what: str) -> None:
        await asyncio.to_thread(harness.eventually, is_so, what)

    async def until_nobody_is_let_in() -> None:
        while True:
            opened.append(
                http2_pool.Pool(tls.connector(shown.client_context, lambda found: found == PLACEMENT), http2.Limits())
            )
            try:
                connections.append(await opened[-1].connection(f"localhost:{member.port}"))
            except http2_pool.Unreachable:
                return
            await asyncio.sleep(0.2)

    async def stream() -> grpc_client.Stream:
        source = await sentry.source("myapp")
        opened.append(
            http2_pool.Pool(tls.connector(source.client_context, lambda found: found == PLACEMENT), http2.Limits())
        )
        connections.append(await opened[-1].connection(f"localhost:{member.port}"))
        return grpc_client.Stream(connections[-1], PATH, "placement")

    async def say(
        stream: grpc_client.Stream, operation: placement_pb2.HostOperation, *types: str, version: int | None = None
    ) -> None:
        said = placement_pb2.Host(name="a", id="myapp", namespace="default", entities=types)
        if version is not None:
            said.operation, said.version = operation, version
        await stream.send(said.SerializeToString())

    async def go_through_a_round(stream: grpc_client.Stream) -> list[str]:
        words = []
        for operation in (placement_pb2.LOCK, placement_pb2.UPDATE, placement_pb2.UNLOCK):
            order = placement_pb2.PlacementOrder.FromString(await stream.receive() or b"")
            words.append(order.operation)
            await say(stream, operation, version=order.version)
        return words

    try:
        member.await_ready().await_leading()
        async with asyncio.timeout(60):
            first = await stream()
            await say(first, placement_pb2.UNKNOWN, "Cat")
            assert await go_through_a_round(first) == ["lock", "update", "unlock"]
            shown = await sentry.source("myapp")
            sentry.kill()
            await until_nobody_is_let_in()  # the certificates are over
            await say(first, placement_pb2.REPORT, "Cat", "Dog", version=2)
            assert await go_through_a_round(first) == ["lock", "update", "unlock"]

            sentry = Authority(tmp_path, configuration=SHORT, port=port).await_ready()
            await until(
                lambda: "Successfully renewed" in member.log.rpartition("Error renewing identity")[2], "it is renewed"
            )
            second = await stream()
            await say(second, placement_pb2.UNKNOWN, "Cat")
            assert await go_through_a_round(second) == ["lock", "update", "unlock"]
    finally:
        for connection in connections:
            connection.transport.abort()  # a farewell could take longer than the loop of the test is there
        for pool in opened:
            pool.close()
        await asyncio.sleep(0)
        member.kill()
        sentry.kill()
        print(member.log)  # noqa: T201 - pytest shows it with a failure
