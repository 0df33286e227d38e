"""Messages of gRPC that cost more than they weigh: on ports of sidecar, placement, scheduler and sentry.

The bounds themselves are in `tests/unit/wire/test_grpc.py`.
"""

import contextlib
import gzip
import ssl
from collections.abc import Iterator
from pathlib import Path
from struct import pack
from typing import NamedTuple

import pytest
from tests.integration import harness
from tests.integration.harness import Sidecar, World
from tests.integration.placement.members import Member
from tests.integration.scheduler.process import Scheduler
from tests.integration.security.attacker import GREETING, Attacker, answer, call
from tests.integration.sentry.authority import Authority
from tests.wire import conftest as wire

from pydapr.proto.dapr.proto.placement.v1 import placement_pb2
from pydapr.wire import frames, grpc
from pydapr.wire.frames import ErrorCode

GREW = 96 << 20
ZIPPED = (b"grpc-encoding", b"gzip")
BOMB = grpc.frame(gzip.compress(bytes(4 << 20)), True)
"""A message of 4 MB in 4 KB."""


class Target(NamedTuple):
    """A port, a method that takes one message there, and the process."""

    port: int
    path: bytes
    pid: int
    tls: ssl.SSLContext | None = None

    def attack(self) -> Attacker:
        return Attacker(self.port, GREETING, self.tls)

    def resident(self) -> int:
        line = next(
            line for line in Path(f"/proc/{self.pid}/status").read_text().splitlines() if line.startswith("VmHWM")
        )
        return int(line.split()[1]) * 1024


@pytest.fixture(scope="module")
def sidecar(shared_world: World) -> Sidecar:
    return shared_world.sidecar("app", shared_world.app())


@pytest.fixture(scope="module")
def placement(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    member = Member(tmp_path_factory.mktemp("placement"), {"p0": harness.free_port()}, "p0")
    yield member.await_ready().await_leading()
    member.kill()


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scheduler]:
    made = Scheduler(tmp_path_factory.mktemp("scheduler"))
    yield made.await_ready()
    made.kill()


@pytest.fixture(scope="module")
def sentry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    made = Authority(tmp_path_factory.mktemp("sentry"))
    yield made.await_ready()
    made.kill()


def anybody() -> ssl.SSLContext:
    """Believes every server: it is we who attack."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


TARGETS = ["api", "internal", "scheduler", "etcd", "sentry"]


@pytest.fixture
def target(request: pytest.FixtureRequest) -> Target:
    name = request.param
    if name in ("api", "internal"):
        sidecar: Sidecar = request.getfixturevalue("sidecar")
        if name == "api":
            return Target(sidecar.grpc, b"/dapr.proto.runtime.v1.Dapr/GetMetadata", sidecar.pid)
        return Target(sidecar.internal, b"/dapr.proto.internals.v1.ServiceInvocation/CallLocal", sidecar.pid)
    if name == "sentry":
        sentry: Authority = request.getfixturevalue("sentry")
        return Target(sentry.port, b"/dapr.proto.sentry.v1.CA/SignCertificate", sentry.process.pid, anybody())
    scheduler: Scheduler = request.getfixturevalue("scheduler")
    if name == "etcd":
        return Target(scheduler.ports[3], b"/etcdserverpb.KV/Range", scheduler.process.pid)
    return Target(scheduler.port, b"/dapr.proto.scheduler.v1.Scheduler/ListJobs", scheduler.process.pid)


@pytest.mark.parametrize("target", TARGETS, indirect=True)
def test_a_second_message_ends_a_call_for_one(target: Target) -> None:
    """The client goes on for ever; nobody waits for its end."""
    with contextlib.closing(target.attack()) as attacker:
        attacker.send(call(1, end=False, path=target.path) + wire.data(1, grpc.frame(b"") * 2))

        assert answer(attacker) == ("INTERNAL", "grpc: more than one message in a unary call")


@pytest.mark.parametrize("target", TARGETS, indirect=True)
def test_a_message_that_says_to_be_too_large_is_not_waited_for(target: Target) -> None:
    with contextlib.closing(target.attack()) as attacker:
        attacker.send(call(1, end=False, path=target.path) + wire.data(1, pack(">BI", 0, 1 << 31)))

        code, words = answer(attacker)
    assert code == "RESOURCE_EXHAUSTED"
    assert words.startswith("grpc: received message larger than max (2147483648 vs. ")


@pytest.mark.parametrize("target", TARGETS, indirect=True)
def test_many_bombs_cost_as_much_as_one(target: Target) -> None:
    before = target.resident()
    with contextlib.closing(target.attack()) as attacker:
        attacker.send(call(1, ZIPPED, end=False, path=target.path))
        bombs = BOMB * 60
        for start in range(0, len(bombs), 16384):
            attacker.send(wire.data(1, bombs[start : start + 16384]))

        assert answer(attacker) == ("INTERNAL", "grpc: more than one message in a unary call")
    assert target.resident() < before + GREW


@pytest.mark.parametrize("target", TARGETS, indirect=True)
def test_gzip_of_many_parts(target: Target) -> None:
    message = grpc.frame(gzip.compress(b"", 1) * 10_000, True)
    with contextlib.closing(target.attack()) as attacker:
        attacker.send(call(1, ZIPPED, end=False, path=target.path))
        for start in range(0, len(message), 16384):
            attacker.send(wire.data(1, message[start : start + 16384], start + 16384 >= len(message)))

        assert answer(attacker) == ("INTERNAL", "grpc: failed to decompress the received message: too many parts")


def test_bombs_on_a_stream_are_taken_one_by_one(placement: Member) -> None:
    """Each would be a report of a sidecar, and makes no sense."""
    path = b"/dapr.proto.placement.v1.Placement/ReportDaprStatus"
    target = Target(placement.port, path, placement.process.pid)
    before = target.resident()
    with contextlib.closing(target.attack()) as attacker:
        attacker.send(call(1, ZIPPED, end=False, path=path))
        bombs = BOMB * 60
        for start in range(0, len(bombs), 16384):
            attacker.send(wire.data(1, bombs[start : start + 16384]))

        attacker.wait_for(frames.RST_STREAM)
        assert answer(attacker)[0] == "INTERNAL"
    assert target.resident() < before + GREW


def test_a_sidecar_that_would_make_the_table_too_large(placement: Member) -> None:
    """Its name would stand in the table once for each of its types."""
    path = b"/dapr.proto.placement.v1.Placement/ReportDaprStatus"
    types = [f"type-{number}" for number in range(2000)]
    host = placement_pb2.Host(
        name="x" * 100_000, id="app", namespace="default", operation=placement_pb2.REPORT, entities=types
    )
    message = grpc.frame(host.SerializeToString())
    with contextlib.closing(Attacker(placement.port)) as attacker:
        attacker.send(call(1, end=False, path=path))
        for start in range(0, len(message), 16384):
            attacker.send(wire.data(1, message[start : start + 16384]))

        code, words = answer(attacker)
    assert (code, words[:21]) == ("RESOURCE_EXHAUSTED", "2000 types of actors,")


def test_floods_of_the_control_plane_end_with_their_connection(
    scheduler: Scheduler, placement: Member, sentry: Authority
) -> None:
    """It is the server of the sidecar: what it takes from whom is in `test_http2.py`."""
    pieces = [
        b"".join(call(at, end=False) + frames.rst_stream(at, ErrorCode.CANCEL) for at in range(first, first + 2000, 2))
        for first in range(1, 40_000, 2000)
    ]
    for port, tls in (
        (scheduler.port, None),
        (scheduler.ports[3], None),
        (placement.port, None),
        (sentry.port, anybody()),
    ):
        attacker = Attacker(port, tls=tls)
        with contextlib.closing(attacker):
            for piece in pieces:
                attacker.send(piece)
            attacker.wait()
        assert attacker.told == (ErrorCode.ENHANCE_YOUR_CALM, "too many requests given up")
    assert scheduler.listed() == []
    assert sentry.get(sentry.health_port, "/healthz")[0] == 200
    assert placement.leads
