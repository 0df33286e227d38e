"""What a resolver remembers of its backend, and for how long."""

import asyncio

import pytest
from tests.unit.components.nameresolution.conftest import Hand

from pydapr.components import nameresolution
from pydapr.components.nameresolution import Addresses, Instance, Missing, NotFound, Remembering


class Backend(Remembering):
    place = "backend"
    fresh, usable, within = 1.0, 10.0, 0.05

    def __init__(self, hand: Hand) -> None:
        super().__init__(hand)
        self.asked = 0
        self.says: Addresses | OSError = ("b:1", "a:1")
        self.waits = asyncio.Event()
        self.waits.set()

    async def open(self) -> None:
        pass

    async def register(self, instance: Instance) -> None:
        pass

    async def look_up(self, app_id: str, namespace: str) -> Addresses:
        self.asked += 1
        await self.waits.wait()
        if isinstance(self.says, OSError):
            raise self.says
        return self.says


@pytest.fixture
def backend(hand: Hand) -> Backend:
    return Backend(hand)


async def test_answer_is_given_again_without_asking(backend: Backend) -> None:
    assert backend.known("shop", "default") == ()
    assert await backend.resolve("shop", "default") == ("a:1", "b:1")

    assert backend.known("shop", "default") == ("a:1", "b:1")
    assert await backend.resolve("shop", "default") == ("a:1", "b:1")
    assert backend.asked == 1


async def test_older_answer_is_renewed_behind_the_call(backend: Backend, hand: Hand) -> None:
    await backend.resolve("shop", "default")
    backend.says = ("c:1",)
    hand.now += 2

    assert backend.known("shop", "default") == ("a:1", "b:1")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert backend.known("shop", "default") == ("c:1",)


async def test_old_answer_is_not_given(backend: Backend, hand: Hand) -> None:
    await backend.resolve("shop", "default")
    hand.now += 11

    assert backend.known("shop", "default") == ()


async def test_callers_who_wait_share_one_question(backend: Backend) -> None:
    backend.waits.clear()
    waiting = [asyncio.ensure_future(backend.resolve("shop", "default")) for _ in range(3)]
    await asyncio.sleep(0)
    backend.waits.set()

    assert await asyncio.gather(*waiting) == [("a:1", "b:1")] * 3
    assert backend.asked == 1


async def test_nobody_is_remembered_for_a_second(backend: Backend, hand: Hand) -> None:
    backend.says = ()
    for _ in range(2):
        with pytest.raises(NotFound, match=r"couldn't find service: shop \(looked in backend\)"):
            await backend.resolve("shop", "default")
    assert backend.asked == 1

    hand.now += 1
    backend.says = ("a:1",)
    assert await backend.resolve("shop", "default") == ("a:1",)


async def test_trouble_is_not_found_with_the_reason(backend: Backend) -> None:
    backend.says = OSError("it burns")

    with pytest.raises(NotFound, match="backend: it burns"):
        await backend.resolve("shop", "default")


async def test_slow_backend_does_not_hold_the_caller(backend: Backend) -> None:
    backend.waits.clear()

    with pytest.raises(NotFound, match="no answer within"):
        await backend.resolve("shop", "default")
    await backend.close()


async def test_address_that_cannot_be_reached_sits_out(backend: Backend) -> None:
    await backend.resolve("shop", "default")
    backend.report_dead("shop", "default", "a:1")

    assert backend.known("shop", "default") == ("b:1",)


async def test_names_are_bounded(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nameresolution, "NAMES", 2)
    for name in "abc":
        await backend.resolve(name, "default")

    assert (backend.known("a", "default"), backend.known("c", "default")) == ((), ("a:1", "b:1"))


async def test_missing_resolver_finds_nobody() -> None:
    with pytest.raises(NotFound, match=r"^name resolver not initialized$"):
        await Missing().resolve("shop", "default")
