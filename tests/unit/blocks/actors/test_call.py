"""Where calls of actors go, and which are tried again."""

import asyncio

import pytest
from tests.unit.blocks.actors.world import HERE, THERE, FakePlaced, FakeTarget, call, options, until

from pydapr.app.channel import Answer, Call
from pydapr.blocks.actors import call as calls
from pydapr.blocks.actors.call import Actors, Lost
from pydapr.blocks.actors.hosting import Here
from pydapr.errors import ActorInvokeFailed, ActorRuntimeClosed, Code, NoAddress, RpcError
from pydapr.lib.actors import Actor, Host, Reminder
from pydapr.net.body import Body
from pydapr.policy.resiliency import Names, Resiliency
from pydapr.policy.retry import Retry

CAT = Actor("Cat", "1")
pytestmark = pytest.mark.plain


class FakeRemote:
    """Another sidecar, which answers with the next of `outcomes`, or with 200."""

    def __init__(self) -> None:
        self.outcomes: list[Exception] = []
        self.calls: list[tuple[Host, Actor, Call]] = []

    async def invoke(self, host: Host, actor: Actor, call: Call) -> Answer:
        self.calls.append((host, actor, call))
        if self.outcomes:
            raise self.outcomes.pop(0)
        return Answer(200, (), Body.of(b"remote"))

    async def remind(self, host: Host, reminder: Reminder) -> bool:
        if self.outcomes:
            raise self.outcomes.pop(0)
        return True


class World:
    def __init__(self, policies: Resiliency | None = None) -> None:
        self.placed, self.here, self.remote, self.target = FakePlaced(), Here(), FakeRemote(), FakeTarget()
        self.here.register({"Cat": options()}, self.target)
        self.actors = Actors(self.placed, self.here, self.remote, "app", "space", policies)
        self.actors.open()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "PAUSES", (0.0, 0.0, 0.0))


async def test_an_actor_that_lives_here_is_called_in_the_name_of_this_app() -> None:
    world = World()
    world.placed.hosts["Cat"] = HERE
    answer = await world.actors.invoke(CAT, call(dapr_caller_app_id="evil", x_foo="bar"))
    assert answer.body.take() == b"done"
    headers = world.target.calls[0].headers
    assert (b"dapr-caller-app-id", b"app") in headers
    assert (b"dapr-caller-namespace", b"space") in headers
    assert (b"x-foo", b"bar") in headers
    assert (b"dapr-caller-app-id", b"evil") not in headers
    assert world.placed.claims[0].is_released


async def test_one_that_lives_elsewhere_is_called_there_and_claimed_no_longer() -> None:
    world = World()
    world.placed.hosts["Cat"] = THERE
    assert (await world.actors.invoke(CAT, call())).body.take() == b"remote"
    assert world.remote.calls[0][:2] == (THERE, CAT)
    assert world.placed.claims[0].is_released


async def test_what_another_sidecar_sends_is_not_sent_on() -> None:
    world = World()
    world.placed.hosts["Cat"] = THERE
    with pytest.raises(ActorInvokeFailed, match="error invoke actor method: remote actor moved"):
        await world.actors.invoke(CAT, call(), True)
    with pytest.raises(RpcError, match="remote actor moved"):
        await world.actors.remind(Reminder(CAT, "r"), True)
    assert not world.remote.calls
    world.placed.hosts["Cat"] = HERE
    await world.actors.invoke(CAT, call(), True)
    assert (b"x-dapr-remote", b"true") in world.target.calls[0].headers


@pytest.mark.parametrize(
    "error",
    [
        RpcError(Code.UNAVAILABLE, "gone"),
        RpcError(Code.INTERNAL, "error invoke actor method: remote actor moved"),
        RpcError(Code.INTERNAL, "x: placement is disseminating"),
    ],
)
async def test_a_sidecar_that_has_it_no_more_is_followed_by_the_one_that_has(error: RpcError) -> None:
    world = World()
    world.placed.hosts["Cat"] = THERE
    world.remote.outcomes = [error, error]
    assert (await world.actors.invoke(CAT, call())).body.take() == b"remote"
    world.remote.outcomes = [error] * 9
    with pytest.raises(Lost) as caught:
        await world.actors.invoke(CAT, call())
    assert str(caught.value) == f"failed to invoke target 127.0.0.1:2 after 3 retries. Error: {error}"
    assert caught.value.code == error.code


async def test_a_failure_of_the_actor_is_not_tried_again() -> None:
    world = World()
    world.placed.hosts["Cat"] = THERE
    world.remote.outcomes = [RpcError(Code.INTERNAL, "error invoke actor method: error from actor service: (500) x")]
    with pytest.raises(RpcError, match="500"):
        await world.actors.invoke(CAT, call())
    assert len(world.remote.calls) == 1
    world.placed.hosts["Cat"] = HERE
    world.target.fault = ActorInvokeFailed("broken")
    with pytest.raises(ActorInvokeFailed, match="broken"):
        await world.actors.invoke(CAT, call())
    assert len(world.target.calls) == 1


async def test_a_type_that_nobody_hosts_is_an_error_in_the_end() -> None:
    world = World()
    with pytest.raises(NoAddress):
        await world.actors.invoke(CAT, call())
    asyncio.get_running_loop().call_soon(world.placed.hosts.__setitem__, "Cat", HERE)
    assert (await world.actors.invoke(CAT, call())).status == 200


async def test_a_call_whose_claim_is_revoked_goes_to_where_the_actor_is_then() -> None:
    world = World()
    world.placed.hosts["Cat"] = HERE
    world.target.gate.clear()
    calling = asyncio.create_task(world.actors.invoke(CAT, call()))
    await until(lambda: world.target.now)
    world.placed.hosts["Cat"] = THERE
    told = world.placed.claims[0].told
    assert told is not None
    told()
    assert (await calling).body.take() == b"remote"
    assert world.target.now == 0
    assert calling.cancelling() == 0


async def test_a_call_that_is_given_up_is_not_tried_again() -> None:
    world = World()
    world.placed.hosts["Cat"] = HERE
    world.target.gate.clear()
    calling = asyncio.create_task(world.actors.invoke(CAT, call()))
    await until(lambda: world.target.now)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert world.placed.claims[0].is_released
    assert world.target.now == 0


async def test_calls_wait_until_it_is_known_what_is_hosted_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    actors = Actors(world.placed, world.here, world.remote, "app", "space")
    world.placed.hosts["Cat"] = HERE
    waiting = asyncio.create_task(actors.invoke(CAT, call()))
    await asyncio.sleep(0)
    assert not waiting.done()
    actors.open()
    assert (await waiting).status == 200
    actors.end()
    with pytest.raises(ActorRuntimeClosed, match="closed"):
        await actors.invoke(CAT, call())
    monkeypatch.setattr(calls, "WAIT_SECONDS", 0.01)
    with pytest.raises(ActorRuntimeClosed, match="has not said"):
        await Actors(world.placed, world.here, world.remote, "app", "space").invoke(CAT, call())
    world.placed.hosts["Cat"] = None
    with pytest.raises(ActorRuntimeClosed, match="where actors live"):
        await world.actors.invoke(CAT, call())


async def test_reminders_go_the_same_way() -> None:
    world = World()
    world.placed.hosts["Cat"] = HERE
    assert await world.actors.remind(Reminder(CAT, "r"))
    assert world.target.done == ["Cat||1 remind r"]
    world.placed.hosts["Cat"] = THERE
    world.remote.outcomes = [RpcError(Code.UNKNOWN, "remote actor moved")]
    assert await world.actors.remind(Reminder(CAT, "r"))
    world.remote.outcomes = [RpcError(Code.UNKNOWN, "broken")]
    with pytest.raises(RpcError, match="broken"):
        await world.actors.remind(Reminder(CAT, "r"))


async def test_a_policy_of_the_type_tries_failures_again_in_place_of_the_built_in_one() -> None:
    policies = Resiliency()
    policies.retries["two"] = Retry(duration=0.0, max_retries=2)
    policies.add_actor("Cat", Names(retry="two"), 10)
    world = World(policies)
    world.placed.hosts["Cat"] = HERE
    world.target.fault = ActorInvokeFailed("broken")
    with pytest.raises(ActorInvokeFailed, match="broken"):
        await world.actors.invoke(CAT, call())
    assert len(world.target.calls) == 3
    with pytest.raises(NoAddress):
        await world.actors.invoke(Actor("Dog", "1"), call())
