"""The cases of state stores, for one that stands behind a socket: both sides of the protocol at once."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.conformance import plugged, test_state
from tests.conformance.test_state import Ready, key, read

from pydapr.components.state import ETagMismatch, Set, StateStore

__all__ = ["key"]

OTHERWISE = {
    "test_one_of_many_that_fails_leaves_the_others": "one error for all of them is what the protocol has",
    "test_every_store_is_judged": "it is about the types that are built in",
}

for _name, _case in vars(test_state).items():
    if _name.startswith("test_") and _name not in OTHERWISE:
        globals()[_name] = _case


@pytest.fixture
def type_() -> str:
    return "state.sqlite"


@pytest.fixture
def serve() -> test_state.Serve:
    return test_state.sqlite


@pytest.fixture
def ready(serve: test_state.Serve, tmp_path: Path) -> Iterator[Ready]:
    with serve(tmp_path) as one:
        yield one


@pytest.fixture
async def store(type_: str, ready: Ready) -> AsyncIterator[StateStore]:
    async with plugged.at_socket(type_) as socket:
        made = await socket.plug("store", ready.metadata)
        assert isinstance(made, StateStore)
        await made.open()
        yield made
        await made.close()


async def test_many_of_which_one_has_another_etag_are_one_error(store: StateStore, key: str) -> None:
    await store.set(Set(key, b"1"))
    old = (await read(store, key)).etag
    await store.set(Set(key, b"2"))

    with pytest.raises(ETagMismatch):
        await store.set_many([Set(key, b"3", etag=old), Set(key + "-new", b"4")])

    assert (await read(store, key)).value == b"2"
    assert (await read(store, key + "-new")).value == b"4"


async def test_what_the_protocol_has_no_call_for_is_not_offered(store: StateStore) -> None:
    assert "KEYS_LIKE" not in store.features
    assert "ACTOR" in store.capabilities
