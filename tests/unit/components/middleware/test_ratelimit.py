"""So many requests per second, for each client and path."""

import pytest
from tests.unit.components.middleware.conftest import Asked, End, Passing

from pydapr.components import Wrong
from pydapr.components.middleware import ratelimit
from pydapr.components.middleware.ratelimit import Options, RateLimit


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limit(rate: float, clock: Clock) -> RateLimit:
    return RateLimit(Options(max_requests_per_second=rate), clock)


async def test_request_over_the_rate_is_refused(passing: Passing, end: End, clock: Clock) -> None:
    station = limit(2, clock)

    statuses = [(await passing(station, Asked(b"/a"))).status for _ in range(3)]

    assert statuses == [200, 200, 429]
    assert len(end.seen) == 2


async def test_refusal_says_why(passing: Passing, clock: Clock) -> None:
    station = limit(1.5, clock)
    await passing(station, Asked())

    asked = await passing(station, Asked(headers=[(b"x-forwarded-for", b"198.51.100.7")]))

    assert asked.sent == b"You have reached maximum request limit."
    assert asked.told == {
        b"x-rate-limit-limit": b"1.50",
        b"x-rate-limit-duration": b"1",
        b"x-rate-limit-request-forwarded-for": b"198.51.100.7",
        b"x-rate-limit-request-remote-addr": b"192.0.2.1:4000",
        b"ratelimit-limit": b"2",
        b"ratelimit-reset": b"1",
        b"ratelimit-remaining": b"0",
        b"content-type": b"text/plain; charset=utf-8",
    }


async def test_answer_tells_what_is_left(passing: Passing, clock: Clock) -> None:
    asked = await passing(limit(5, clock), Asked(body=b"x"))

    assert (asked.told[b"ratelimit-remaining"], asked.told[b"content-type"]) == (b"4", b"text/plain")


def test_bucket_fills_evenly(clock: Clock) -> None:
    station = limit(2, clock)
    assert [station.take("a", b"/") for _ in range(3)] == [1, 0, -1]

    clock.now += 0.5
    assert [station.take("a", b"/") for _ in range(2)] == [0, -1]

    clock.now += 60
    assert [station.take("a", b"/") for _ in range(3)] == [1, 0, -1]


def test_rate_below_one_lets_one_pass_in_its_time(clock: Clock) -> None:
    station = limit(0.1, clock)
    assert [station.take("a", b"/") for _ in range(2)] == [0, -1]

    clock.now += 10
    assert station.take("a", b"/") == 0


async def test_clients_and_paths_have_buckets_of_their_own(passing: Passing, clock: Clock) -> None:
    station = limit(1, clock)
    other = Asked(b"/a")
    other.address = "192.0.2.2:1"

    assert (await passing(station, Asked(b"/a?x=1"))).status == 200
    assert (await passing(station, Asked(b"/b"))).status == 200
    assert (await passing(station, other)).status == 200
    assert (await passing(station, Asked(b"/a?x=2"))).status == 429


async def test_addresses_of_one_ipv6_network_are_one_client(passing: Passing, clock: Clock) -> None:
    station = limit(1, clock)
    statuses = []
    for address in ("[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8:0:1::1]:1"):
        asked = Asked()
        asked.address = address
        statuses.append((await passing(station, asked)).status)

    assert statuses == [200, 429, 200]


def test_buckets_are_bounded_and_empty_ones_stay(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(ratelimit, "MAX_BUCKETS", 4)
    station = limit(2, clock)
    assert [station.take("a", b"/") for _ in range(3)][-1] == -1

    for name in "bcdefgh":
        station.take(name, b"/")

    assert len(station._buckets) <= 4
    assert station.take("a", b"/") == -1


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_rate_must_be_positive(rate: float) -> None:
    with pytest.raises(Wrong, match="metadata property maxRequestsPerSecond must be a positive value"):
        RateLimit(Options(max_requests_per_second=rate))
