"""The consistent hash against vectors that the original computed (v1.18.3, `pkg/placement/hashing`)."""

import json
from pathlib import Path
from typing import Any

import pytest

from pydapr.lib import ring

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("ring_vectors.json").read_text("utf-8"))


def _ring(*hosts: str, replicas: int = 100) -> ring.Ring:
    return ring.Ring(frozenset(hosts), ring.Points(replicas))


@pytest.mark.parametrize(("text", "number"), VECTORS["hashes"].items())
def test_a_hash_is_the_one_of_the_original(text: str, number: str) -> None:
    assert ring.hash_of(text) == int(number)


@pytest.mark.parametrize("vector", VECTORS["rings"], ids=lambda found: f"{len(found['hosts'])}-{found['replicas']}")
def test_keys_belong_to_whom_the_original_finds(vector: dict[str, Any]) -> None:
    hosts = vector["hosts"]
    made = _ring(*hosts, replicas=vector["replicas"])

    assert {key: hosts.index(made.find(key)) for key in vector["owners"]} == vector["owners"]


@pytest.mark.parametrize("vector", VECTORS["rings"], ids=lambda found: f"{len(found['hosts'])}-{found['replicas']}")
def test_the_outermost_points_are_those_of_the_original(vector: dict[str, Any]) -> None:
    points = ring.Points(vector["replicas"])
    found = sorted(point for host in vector["hosts"] for point in points.of(host))

    assert (found[0], found[-1]) == (int(vector["first"]), int(vector["last"]))


def test_a_key_behind_the_last_point_belongs_to_the_first() -> None:
    made = _ring("a", "b", "c", replicas=1)
    points = ring.Points(1)
    first = min("abc", key=lambda host: points.of(host)[0])
    last = max(points.of(host)[0] for host in "abc")
    behind = next(key for key in map(str, range(10_000)) if ring.hash_of(key) > last)

    assert made.find(behind) == first


def test_an_answer_does_not_depend_on_what_was_asked_before() -> None:
    asked, fresh = _ring("a", "b", "c"), _ring("c", "b", "a")
    keys = [str(number) for number in range(3 * ring.REMEMBERED)]

    assert [asked.find(key) for key in keys] == [fresh.find(key) for key in reversed(keys)][::-1]
    assert asked.find("7") == fresh.find("7")


def test_only_keys_of_a_host_that_goes_move() -> None:
    before, after = _ring("a", "b", "c"), _ring("a", "b")
    keys = [str(number) for number in range(1000)]

    assert all(before.find(key) == after.find(key) for key in keys if before.find(key) != "c")
    assert {after.find(key) for key in keys if before.find(key) == "c"} == {"a", "b"}


def test_points_of_hosts_that_are_gone_are_forgotten() -> None:
    points = ring.Points(5)
    kept, gone = points.of("kept"), points.of("gone")

    points.keep(["kept"])

    assert points.of("kept") is kept
    assert points.of("gone") == gone and points.of("gone") is not gone
