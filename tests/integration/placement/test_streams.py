"""One placement, and streams that come, go, change and stand still."""

import signal
import socket
import time

import grpc
import h2.connection
import pytest
from tests.integration import harness
from tests.integration.placement.conftest import Report, Start
from tests.integration.placement.members import Stream

from pydapr.controlplane import beside
from pydapr.placement import service
from pydapr.proto.dapr.proto.placement.v1 import placement_pb2
from pydapr.wire.grpc import frame as grpc_frame


def test_all_go_by_one_table(start: Start, report: Report) -> None:
    member = start()
    one, other = report(member, "a", "Cat", "Dog"), report(member, "b", "Cat")
    bystander, stranger = report(member, "c"), report(member, "d", "Cat", namespace="elsewhere")
    for stream in (one, other, bystander):
        stream.await_table(Cat={"a", "b"}, Dog={"a"})
    stranger.await_table(Cat={"d"})
    other.report("Bird")
    one.await_table(Cat={"a"}, Dog={"a"}, Bird={"b"})
    assert one.orders[-2].tables.replication_factor == 100
    assert one.orders[-2].tables.version == str(one.orders[-2].version)
    entry = one.orders[-2].tables.entries["Bird"].load_map["b"]
    assert (entry.name, entry.id, entry.namespace) == ("b", "id-b", "default")
    other.end()
    one.await_table(Cat={"a"}, Dog={"a"})
    assert other.is_over.wait(harness.LIMIT) and other.error is None
    one.close()
    bystander.await_table()


def test_what_it_shows(start: Start, report: Report) -> None:
    member = start()
    assert member.state() == {}
    stream, bystander = report(member, "a", "Dog", "Cat"), report(member, "b")
    stream.await_table(Cat={"a"}, Dog={"a"})
    bystander.await_table(Cat={"a"}, Dog={"a"})
    assert member.state() == {
        "tables": {
            "default": {
                "hosts": [
                    {"name": "a", "entities": ["Cat", "Dog"], "id": "id-a", "namespace": "default", "operation": 1}
                ],
                "version": 1,
            }
        }
    }
    shown = member.metrics()
    assert shown['dapr_placement_runtimes_total{host_namespace="default"}'] == 2
    assert shown['dapr_placement_actor_runtimes_total{host_namespace="default"}'] == 1
    assert shown["dapr_placement_raft_leader_status"] == 1
    stream.close()
    bystander.close()
    harness.eventually(lambda: member.state() == {}, "the namespace is gone")
    assert member.metrics()['dapr_placement_runtimes_total{host_namespace="default"}'] == 0


def test_tables_are_not_shown_unless_it_is_wanted(start: Start) -> None:
    member = start("--metadata-enabled=false")
    assert member.get(member.health_port, "/placement/state")[0] == 404
    assert member.get(member.health_port, "/healthz")[0] == 200


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ({"id": ""}, grpc.StatusCode.INVALID_ARGUMENT, "host ID and namespace must be provided"),
        (
            {"types": ["dapr.internal.default.other.workflow"]},
            grpc.StatusCode.PERMISSION_DENIED,
            "entity dapr.internal.default.other.workflow is not allowed for app ID id-a in namespace default",
        ),
    ],
)
def test_who_may_not_say_what_it_says_is_told(start: Start, fields: dict[str, object], code: object, text: str) -> None:
    member = start()
    stream = Stream(member.address, "a", *fields.get("types", ()), namespace="default" if "types" in fields else "")  # type: ignore[misc]
    assert stream.failure() == (code, text)
    assert member.state() == {}
    stream.close()


def test_a_large_table_comes_in_gzip(start: Start, report: Report) -> None:
    member = start()
    types = [f"ActorType{number}" for number in range(3000)]
    stream = report(member, "a", *types)
    hosts = {"a"}
    stream.await_table(**dict.fromkeys(types, hosts))


def test_who_does_not_answer_is_closed_and_the_others_go_on(start: Start, report: Report) -> None:
    member = start("--disseminate-timeout=1s")
    good = report(member, "a", "Cat")
    good.await_table(Cat={"a"})
    bad = report(member, "b", "Cat", answers=False)
    assert bad.failure() == (grpc.StatusCode.DEADLINE_EXCEEDED, "dissemination timeout after 1s for version 2")
    good.await_table(Cat={"a"})
    assert not good.is_over.is_set() and member.hosts() == ["a"]


def test_who_takes_no_orders_holds_nobody_up(start: Start, report: Report) -> None:
    """Its window is full: the table waits for it, and nobody else does for longer than the timeout."""
    member = start("--disseminate-timeout=1s")
    types = [f"ActorType{number:05}" * 10 for number in range(2000)]
    good = report(member, "a", *types)
    harness.eventually(lambda: len(good.table()) == len(types), "the table is there")
    with socket.create_connection(("127.0.0.1", member.port)) as deaf:
        client = h2.connection.H2Connection()
        client.initiate_connection()
        path = (":path", "/dapr.proto.placement.v1.Placement/ReportDaprStatus")
        head = (":method", "POST"), (":scheme", "http"), path, (":authority", "x"), ("content-type", "application/grpc")
        client.send_headers(1, head)
        said = (
            placement_pb2.Host(name="b", id="b", namespace="default", entities=["Cat"], operation=placement_pb2.REPORT),
            placement_pb2.Host(id="b", namespace="default", operation=placement_pb2.LOCK, version=2),
        )
        for message in said:
            client.send_data(1, grpc_frame(message.SerializeToString()))
        deaf.sendall(client.data_to_send())
        harness.eventually(lambda: member.hosts() == ["a", "b"], "it is there")
        harness.eventually(lambda: good.words.count("update") == 2, "it has said that it is ready, and does not read")
        harness.eventually(lambda: member.hosts() == ["a"], "it is not waited for any longer")
        harness.eventually(lambda: good.table() and "Cat" not in good.table(), "the others go on")
    assert not good.is_over.is_set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_once_although_sidecars_are_connected(start: Start, report: Report, number: signal.Signals) -> None:
    member = start()
    stream = report(member, "a", "Cat")
    stream.await_table(Cat={"a"})
    assert member.stop(number) == 0
    assert stream.failure() == (grpc.StatusCode.UNAVAILABLE, "placement server is shutting down")
    assert "Placement service shut down gracefully" in member.log


def test_a_stream_that_has_said_nothing_does_not_hold_up_the_end(start: Start) -> None:
    member = start()
    client = h2.connection.H2Connection()
    client.initiate_connection()
    client.send_headers(1, [
        (":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", service.PATH.decode()),
        ("content-type", "application/grpc"), ("te", "trailers"),
    ])  # fmt: skip
    client.ping(b"answered")
    with socket.create_connection(("127.0.0.1", member.port), timeout=harness.LIMIT) as silent:
        silent.sendall(client.data_to_send())
        seen = b""
        while b"answered" not in seen:  # by then the stream is there
            seen += silent.recv(4096)
        began = time.monotonic()
        assert member.stop() == 0
    assert time.monotonic() - began < beside.STOP_SECONDS  # nobody was waited for


def test_after_a_kill_it_has_its_ports_at_once_and_learns_all_anew(start: Start, report: Report) -> None:
    member = start()
    report(member, "a", "Cat").await_table(Cat={"a"})
    member.kill()
    member.start()
    member.await_ready().await_leading()
    report(member, "a", "Cat").await_table(Cat={"a"})
