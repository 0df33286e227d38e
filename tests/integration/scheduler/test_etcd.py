"""Schedulers whose jobs are in a real etcd: shared by several, started as a child, and what is refused.

`ORIGINAL_SCHEDULER` in the environment names an executable of the original, which then shares the etcd with ours.
"""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance import servers, store_servers
from tests.integration import harness
from tests.integration.scheduler.conftest import Start
from tests.integration.scheduler.process import Refused, Scheduler
from tests.integration.scheduler.test_faults import Answering

from pydapr.proto.dapr.proto.scheduler.v1 import scheduler_pb2 as pb

LIMIT = 60.0
"""More than twice the longest lease."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    with store_servers.etcd() as (metadata, _):
        yield metadata["endpoints"]


def sharing(folder: Path, endpoint: str, id: str, program: list[str] | None = None) -> Scheduler:
    (folder / id).mkdir()
    flags = ("--etcd-embed=false", f"--etcd-client-endpoints={endpoint}")
    return Scheduler(folder / id, *flags, id=id, program=program)


def _pairs() -> list[Any]:
    """The program of the other one, and which of both is killed."""
    pairs = [pytest.param(None, 1, id="ours")]
    original = os.environ.get("ORIGINAL_SCHEDULER")
    if original:
        pairs += [pytest.param([original], 1, id="the original dies"), pytest.param([original], 0, id="ours dies")]
    return pairs


def hosts(scheduler: Scheduler) -> int:
    call = scheduler._channel.unary_stream(
        "/dapr.proto.scheduler.v1.Scheduler/WatchHosts", request_serializer=lambda one: one.SerializeToString()
    )(pb.WatchHostsRequest(), timeout=LIMIT, wait_for_ready=True)
    try:
        return len(pb.WatchHostsResponse.FromString(next(iter(call))).hosts)
    finally:
        call.cancel()


@pytest.mark.parametrize(("program", "dying"), _pairs())
def test_two_on_one_etcd_trigger_each_job_once_and_one_has_all_when_the_other_dies(
    tmp_path: Path, endpoint: str, program: list[str] | None, dying: int
) -> None:
    ours = sharing(tmp_path, endpoint, "one")
    other = sharing(tmp_path, endpoint, "two", program)
    try:
        for one in (ours, other):
            harness.eventually(lambda one=one: one.is_healthy() and hosts(one) == 2, "both agree", LIMIT)  # type: ignore[misc]
        watches = [Answering(one.watch()) for one in (ours, other)]
        for number in range(40):
            (ours, other)[number % 2].schedule(f"early{number}", due_time="1s")
            (ours, other)[number % 2].schedule(f"late{number}", due_time="12s")

        def seen() -> list[str]:
            return [name for watch in watches for name in watch.answered]

        harness.eventually(lambda: len(seen()) >= 40, "all of the first are triggered", LIMIT)
        assert sorted(seen()) == sorted(f"early{number}" for number in range(40))
        assert all(5 < len(watch.answered) < 35 for watch in watches)  # each has its share

        (ours, other)[dying].kill()

        harness.eventually(lambda: len(seen()) >= 80, "all of the others, too", LIMIT)
        assert sorted(seen()) == sorted(f"{kind}{number}" for kind in ("early", "late") for number in range(40))
        harness.eventually(lambda: not (other, ours)[dying].listed(), "none is kept that is done", LIMIT)
    finally:
        for one in (ours, other):
            one.kill()


def test_a_restart_of_etcd_is_survived(tmp_path: Path) -> None:
    with store_servers.etcd() as (metadata, restart):
        scheduler = sharing(tmp_path, metadata["endpoints"], "one")
        try:
            scheduler.await_ready()
            watch = scheduler.watch()
            restart()
            harness.eventually(lambda: _schedules(scheduler), "jobs are taken again", LIMIT)
            assert watch.next(LIMIT).name == "after"
        finally:
            scheduler.kill()


def _schedules(scheduler: Scheduler) -> bool:
    try:
        scheduler.schedule("after", overwrite=True, due_time="0s")
    except Refused:
        return False
    return True


def test_a_data_directory_of_etcd_is_gone_on_with_and_its_etcd_ends_with_us(start: Start, tmp_path: Path) -> None:
    servers.program("etcd")
    (tmp_path / "default-one" / "dapr-0.1" / "member").mkdir(parents=True, mode=0o700)
    scheduler = start().await_ready()
    scheduler.schedule("kept", due_time="1h")
    client_port = scheduler.ports[3]

    scheduler.process.kill()
    harness.eventually(lambda: not _listens(client_port), "etcd ends with the scheduler")
    again = start(again=scheduler).await_ready()

    assert again.listed() == ["kept"]
    assert again.stop() == 0
    harness.eventually(lambda: not _listens(client_port), "etcd ends with the scheduler")
    assert not (tmp_path / "default-one" / "pydapr").exists()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("has_data", [True, False], ids=["with data of etcd", "as one of several"])
def test_without_an_etcd_it_says_what_to_do(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_data: bool
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if has_data:
        (tmp_path / "default-one" / "dapr-0.1" / "member").mkdir(parents=True)
    scheduler = start() if has_data else start("--etcd-initial-cluster=two=http://127.0.0.1:1")

    assert scheduler.process.wait(20) == 1
    assert "install etcd (its executable must be on the PATH)" in scheduler.log
    assert "--etcd-embed=false --etcd-client-endpoints" in scheduler.log
    assert ("holds jobs in the format of etcd" in scheduler.log) == has_data
    assert not has_data or (tmp_path / "default-one" / "dapr-0.1" / "member").exists()


def test_jobs_of_a_single_one_are_not_left_behind_silently(start: Start, tmp_path: Path) -> None:
    servers.program("etcd")
    scheduler = start().await_ready()
    scheduler.schedule("kept", due_time="1h")
    assert scheduler.stop() == 0

    several = start("--etcd-initial-cluster=two=http://127.0.0.1:1")

    assert several.process.wait(20) == 1
    assert "holds jobs of a single scheduler" in several.log
