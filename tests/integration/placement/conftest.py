"""Placements and streams of one test, ended with it; when a test fails the logs are shown."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration import harness
from tests.integration.placement.members import Member, Stream

Start = Callable[..., Member]
Report = Callable[..., Stream]


class Cluster(list[Member]):
    """Several members."""

    def leader(self, limit: float = harness.LIMIT) -> Member:
        """The one that leads, as soon as there is one."""
        found: list[Member] = []

        def look() -> bool:
            found[:] = [one for one in self if one.process.poll() is None and one.leads]
            return len(found) == 1

        harness.eventually(look, "one member leads", limit)
        return found[0]

    def followers(self) -> list[Member]:
        leader = self.leader()
        return [one for one in self if one is not leader]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a member of a cluster of its own, which is ready and leads."""
    made: list[Member] = []

    def one(*flags: str, **environment: str) -> Member:
        id_ = f"p{len(made)}"
        made.append(Member(tmp_path, {id_: harness.free_port()}, id_, *flags, **environment))
        return made[-1].await_ready().await_leading()

    yield one
    for member in made:
        member.kill()
        print(member.log)  # noqa: T201 - pytest shows it with a failure


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three members that are ready."""
    ports = {id_: harness.free_port() for id_ in ("p1", "p2", "p3")}
    made = Cluster(Member(tmp_path, ports, id_) for id_ in ports)
    for member in made:
        member.await_ready()
    yield made
    for member in made:
        member.kill()
        print(member.log)  # noqa: T201 - pytest shows it with a failure


@pytest.fixture
def report() -> Iterator[Report]:
    """Opens streams."""
    made: list[Stream] = []

    def one(member: Member, name: str, *types: str, **options: object) -> Stream:
        made.append(Stream(member.address, name, *types, **options))  # type: ignore[arg-type]
        return made[-1]

    yield one
    for stream in made:
        stream.close()
