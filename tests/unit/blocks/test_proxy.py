"""Where calls that pass through go, and what they end with when nobody takes them."""

from typing import Any

import pytest

from pydapr.blocks.proxy import Proxy
from pydapr.components.nameresolution import Addresses, Instance, NotFound, Resolver
from pydapr.errors import Code, RpcError

pytestmark = pytest.mark.plain  # what stands for classes of ours here is no such class


class Names(Resolver):
    """Knows addresses once it has been asked for them; an address that is reported dead is gone from it."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.remembered: Addresses = ()
        self.asked: list[tuple[str, str]] = []

    async def open(self) -> None: ...

    async def register(self, instance: Instance) -> None: ...

    def known(self, app_id: str, namespace: str) -> Addresses:
        return self.remembered

    async def resolve(self, app_id: str, namespace: str) -> Addresses:
        self.asked.append((app_id, namespace))
        if not self.addresses:
            raise NotFound(app_id, ("here",))
        self.remembered = self.addresses
        return self.addresses

    def report_dead(self, app_id: str, namespace: str, address: str) -> None:
        self.addresses = self.remembered = tuple(one for one in self.addresses if one != address) or (address,)

    async def close(self) -> None: ...


class Unreached(RpcError):
    """No connection."""


class Sidecars:
    """Does what `script` says for an address: raises an error, refuses (False) or takes the call (True)."""

    def __init__(self, **script: RpcError | bool) -> None:
        self.script = script
        self.called: list[str] = []

    async def pass_on(self, address: str, app_id: str, namespace: str, relay: Any) -> bool:
        self.called.append(address)
        does = self.script.get(address, True)
        if isinstance(does, RpcError):
            raise does
        return does

    def is_unreached(self, error: RpcError) -> bool:
        return isinstance(error, Unreached)


class App:
    """Refuses so many calls, then takes them."""

    def __init__(self, refuses: int = 0) -> None:
        self.refuses = refuses
        self.called = 0

    async def pass_on(self, relay: Any) -> bool:
        self.called += 1
        return self.called > self.refuses


class Call:
    """Stands for a relay: only the path of its exchange is looked at."""

    def __init__(self, target: bytes = b"/my.Service/Method") -> None:
        self.exchange = self
        self.target = target


DEAD = Unreached(Code.UNAVAILABLE, "connection refused")


def make(sidecars: Sidecars | None = None, names: Names | None = None, app: App | None = None) -> Proxy:
    return Proxy("me", "mine", names or Names("a"), sidecars or Sidecars(), app or App())


async def passed(proxy: Proxy, target: str, call: Any = None) -> RpcError | None:
    """The error that a call of `target` ends with, if any."""
    relay: Any = call or Call()
    try:
        await proxy.pass_on(target, relay)
    except RpcError as error:
        return error
    return None


async def test_other_apps_are_asked_for_in_their_namespace() -> None:
    names = Names("a")
    proxy = make(names=names)

    assert await passed(proxy, "other") is None
    names.remembered = ()
    assert await passed(proxy, "other.theirs") is None
    assert names.asked == [("other", "mine"), ("other", "theirs")]


async def test_the_own_app_is_called_without_asking_for_it() -> None:
    names, app = Names(), App()

    assert await passed(make(names=names, app=app), "me") is None
    assert (app.called, names.asked) == (1, [])


@pytest.mark.parametrize(("target", "text"), [("", "app id is empty"), ("a.b.c", "invalid app id a.b.c")])
async def test_targets_that_are_none_are_unknown(target: str, text: str) -> None:
    error = await passed(make(), target)

    assert error is not None and (error.code, error.message) == (Code.UNKNOWN, text)
    with pytest.raises(RpcError, match=text):
        await make().is_other(target)


async def test_an_app_that_nobody_has_is_unknown() -> None:
    error = await passed(make(names=Names()), "other")

    assert error is not None
    assert (error.code, error.message) == (Code.UNKNOWN, "couldn't find service: other (looked in here)")


async def test_instances_take_turns() -> None:
    sidecars = Sidecars()
    proxy = make(sidecars, Names("a", "b", "c"))

    for _ in range(6):
        await passed(proxy, "other")

    assert sidecars.called == ["a", "b", "c"] * 2


async def test_asking_whose_an_app_is_takes_no_turn() -> None:
    sidecars = Sidecars()
    proxy = make(sidecars, Names("a", "b"))

    for _ in range(2):
        assert await proxy.is_other("other")
        await passed(proxy, "other")

    assert sidecars.called == ["a", "b"]
    assert not await proxy.is_other("me")


async def test_instances_that_cannot_be_reached_are_passed_over_and_told() -> None:
    sidecars, names = Sidecars(a=DEAD, b=DEAD), Names("a", "b", "c")

    assert await passed(make(sidecars, names), "other") is None
    assert sidecars.called[-1] == "c" and not set(sidecars.called[:-1]) & set(names.addresses)


async def test_the_error_is_the_last_one_when_no_instance_can_be_reached() -> None:
    sidecars = Sidecars(a=DEAD, b=DEAD)

    assert await passed(make(sidecars, Names("a", "b")), "other") is DEAD
    assert sorted(sidecars.called) == ["a", "b"]


async def test_an_instance_that_refuses_is_passed_over() -> None:
    sidecars = Sidecars(a=False)

    assert await passed(make(sidecars, Names("a", "b")), "other") is None
    assert sidecars.called == ["a", "b"]


async def test_a_call_that_all_refuse_is_unavailable() -> None:
    error = await passed(make(Sidecars(a=False), Names("a")), "other")

    assert error is not None and (error.code, error.message) == (Code.UNAVAILABLE, "a refused the stream")


async def test_other_errors_end_the_call_at_once() -> None:
    failed = RpcError(Code.ABORTED, "no")
    sidecars = Sidecars(a=failed)

    assert await passed(make(sidecars, Names("a", "b")), "other") is failed
    assert sidecars.called == ["a"]


@pytest.mark.parametrize(("refuses", "code"), [(1, None), (2, Code.UNAVAILABLE)])
async def test_the_own_app_may_refuse_once(refuses: int, code: Code | None) -> None:
    app = App(refuses)

    error = await passed(make(app=app), "me")

    assert (error and error.code, app.called) == (code, 2)


@pytest.mark.parametrize("path", [b"/my.Service/Method?x", b"/my.Service/a#b", b"/my.Service/a\0", b"/my.Service/\n"])
async def test_the_own_app_gets_no_method_that_rules_could_misread(path: bytes) -> None:
    app = App()

    error = await passed(make(app=app), "me", Call(path))

    assert error is not None and (error.code, app.called) == (Code.INVALID_ARGUMENT, 0)
    assert error.message.startswith("invalid method: ")
