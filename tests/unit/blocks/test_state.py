"""The state block: prefixes, what is tried again, what is told of failures, pages of keys."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from pydapr import components
from pydapr.blocks.state import Found, State, Store, keys
from pydapr.components.state import (
    NO_METADATA,
    Delete,
    ETagInvalid,
    ETagMismatch,
    Item,
    Set,
    StateError,
    StateStore,
    Unavailable,
)
from pydapr.components.state.in_memory import InMemory
from pydapr.errors import Code, DaprError, QueryFailed, StateFailed, StateKeyIllegal, TooManyOperations
from pydapr.policy.resiliency import Names, Resiliency
from pydapr.policy.retry import Retry


def in_memory() -> InMemory:
    found = components.find("state.in-memory")
    assert found is not None
    made = found.make(components.read(found.options, {}))
    assert isinstance(made, InMemory)
    return made


def policies(retries: int = 3, timeout: float = 0.0) -> Resiliency:
    made = Resiliency()
    made.retries["again"] = Retry(duration=0.0, max_retries=retries)
    made.timeouts["soon"] = timeout
    made.add_component("store", Names(), Names(retry="again", timeout="soon" if timeout else ""))
    return made


class Failing(InMemory):
    """Fails as it is told: for each key the errors of the next writes."""

    def __init__(self, failures: Mapping[str, Sequence[StateError]]) -> None:
        self.__dict__.update(in_memory().__dict__)
        self.failures = {key: list(errors) for key, errors in failures.items()}
        self.tried: list[str] = []

    async def set(self, request: Set) -> None:
        self.tried.append(request.key)
        if self.failures.get(request.key):
            raise self.failures[request.key].pop(0)
        await super().set(request)

    async def get(self, key: str, *, consistency: str = "", metadata: Mapping[str, str] = NO_METADATA) -> Item | None:
        self.tried.append(key)
        if self.failures.get(key):
            raise self.failures[key].pop(0)
        return await super().get(key)


def block(store: StateStore, resiliency: Resiliency | None = None, prefix: str = "") -> tuple[State, Store]:
    made = Store("store", store, prefix)
    return State("app", {"store": made}, resiliency), made


# -- keys --


@pytest.mark.parametrize(
    ("strategy", "app_id", "namespace", "prefix"),
    [
        (None, "app", "ns", "app||"),
        ("AppID", "app", "ns", "app||"),
        ("appid", "", "ns", ""),
        ("name", "app", "ns", "store||"),
        ("namespace", "app", "ns", "ns.app||"),
        ("namespace", "app", "", "app||"),
        ("namespace", "", "ns", ""),
        ("none", "app", "ns", ""),
        ("Own", "app", "ns", "own||"),
        ("", "app", "ns", "||"),
    ],
)
def test_prefix_follows_the_strategy(strategy: str | None, app_id: str, namespace: str, prefix: str) -> None:
    assert keys.prefix(strategy, "store", app_id, namespace) == prefix


@pytest.mark.parametrize(("full", "key"), [("k", "k"), ("app||k", "k"), ("app||k||more", "k"), ("||k", "k")])
def test_original_key_is_what_the_app_has(full: str, key: str) -> None:
    assert keys.original(full) == key


async def test_key_with_bars_is_refused_by_every_operation() -> None:
    state, store = block(in_memory())

    for operation in (
        state.get(store, "a||b", "", {}),
        state.get_bulk(store, ["ok", "a||b"], 0, {}),
        state.save(store, [Set("ok", b"1"), Set("a||b", b"1")]),
        state.delete(store, Delete("a||b")),
        state.delete_bulk(store, [Delete("a||b")]),
        state.transact(store, [Set("a||b", b"1")], {}),
        state.keys(store, "a||b", 10, "", False),
    ):
        with pytest.raises(StateKeyIllegal):
            await operation
    assert await store.store.get("ok") is None


# -- tries --


async def test_only_what_failed_is_written_again() -> None:
    failing = Failing({"b": [Unavailable("gone"), Unavailable("gone")], "c": [ETagMismatch()]})
    state, store = block(failing, policies())

    # Unlike with the original, what failed for its etag is told when the others are done at another try.
    with pytest.raises(StateFailed, match="possible etag mismatch") as raised:
        await state.save(store, [Set("a", b"1"), Set("b", b"2"), Set("c", b"3")])

    assert (raised.value.status, raised.value.grpc) == (409, Code.ABORTED)
    assert failing.tried == ["a", "b", "c", "b", "b"]
    assert [item.item.value if item.item else None for item in await state.get_bulk(store, ["a", "b", "c"], 0, {})] == [
        b"1",
        b"2",
        None,
    ]


@pytest.mark.parametrize("requests", [[Set("a", b"1")], [Set("a", b"1"), Set("b", b"1")]], ids=["one", "many"])
async def test_wrong_etags_are_not_tried_again(requests: list[Set]) -> None:
    failing = Failing({"a": [ETagMismatch("other")] * 5, "b": [ETagInvalid("odd")] * 5})
    state, store = block(failing, policies())

    with pytest.raises(StateFailed) as raised:
        await state.save(store, [Set(one.key, one.value) for one in requests])

    assert failing.tried == [one.key for one in requests]
    is_invalid = len(requests) > 1
    assert raised.value.status == (400 if is_invalid else 409)
    assert raised.value.grpc == (Code.INVALID_ARGUMENT if is_invalid else Code.ABORTED)


async def test_reading_is_tried_again_and_then_given_up() -> None:
    failing = Failing({"a": [Unavailable("first"), Unavailable("second"), Unavailable("third")]})
    state, store = block(failing, policies(retries=1))

    with pytest.raises(StateFailed, match="fail to get a from state store store: second"):
        await state.get(store, "a", "", {})
    assert await state.get(store, "nothing", "", {}) is None


async def test_store_that_hangs_is_left_after_its_timeout() -> None:
    class Hanging(Failing):
        async def get(
            self, key: str, *, consistency: str = "", metadata: Mapping[str, str] = NO_METADATA
        ) -> Item | None:
            await asyncio.Event().wait()
            return None

    state, store = block(Hanging({}), policies(retries=0, timeout=0.01))

    with pytest.raises(StateFailed, match="context deadline exceeded"):
        await state.get(store, "a", "", {})


# -- what is told --


async def test_errors_hold_no_secret_of_the_component() -> None:
    failing = Failing({"a": [Unavailable("cannot sign in with hunter22")]})
    failing.scrub = lambda text: text.replace("hunter22", "***")
    state, store = block(failing)

    with pytest.raises(StateFailed, match=r"cannot sign in with \*\*\*"):
        await state.get(store, "a", "", {})


async def test_many_errors_are_told_line_by_line() -> None:
    failing = Failing({"a": [ETagMismatch("one")], "b": [ETagMismatch("two")]})
    state, store = block(failing)

    with pytest.raises(StateFailed) as raised:
        await state.save(store, [Set("a", b"1"), Set("b", b"1"), Set("c", b"1")])

    before = "possible etag mismatch. error from state store"
    assert raised.value.message == (f"failed saving state in state store store: {before}: {before}: one\n{before}: two")


async def test_transaction_larger_than_the_store_takes_is_refused() -> None:
    small = in_memory()
    small.max_operations = 1
    state, store = block(small)

    with pytest.raises(TooManyOperations, match="contains 2 operations"):
        await state.transact(store, [Set("a", b"1"), Set("b", b"1")], {})


async def test_operations_are_counted_by_success() -> None:
    counted: list[tuple[Any, ...]] = []

    class Counting:
        def done(self, store: str, what: str, is_success: bool, seconds: float) -> None:
            counted.append((store, what, is_success, seconds >= 0))

    state, store = block(Failing({"a": [StateError("no")]}))
    state.metrics = Counting()  # type: ignore[assignment]

    for operation in (
        state.get(store, "a", "", {}),
        state.save(store, [Set("b", b"1")]),
        state.delete(store, Delete("b", concurrency="odd")),
        state.transact(store, [Set("b", b"1")], {}),
    ):
        try:
            await operation
        except DaprError:
            pass

    assert counted == [
        ("store", "get", False, True),
        ("store", "set", True, True),
        ("store", "transaction", True, True),
    ]


# -- listing --


async def test_pages_hold_the_apps_own_keys_only() -> None:
    state, store = block(in_memory(), prefix="app||")
    await store.store.set_many(
        [Set(key, b"1") for key in ("app||a1", "app||a2", "app||type||id||x", "app||b", "apple||a", "other||a")]
    )

    first, token = await state.keys(store, "", 3, "", False)
    second, end = await state.keys(store, "", 3, token, True)

    assert ([one.key for one in first], [one.key for one in second], end) == (["a1", "a2", "b"], [], "")
    [with_value, _], _ = await state.keys(store, "a", 10, "", True)
    assert isinstance(with_value, Found)
    assert with_value.item is not None
    assert with_value.item.value == b"1"


@pytest.mark.parametrize("token", ["no base64", "ä", "/w=="])
async def test_token_from_elsewhere_is_refused(token: str) -> None:
    state, store = block(in_memory())

    with pytest.raises(QueryFailed, match="token"):
        await state.keys(store, "", 3, token, False)
