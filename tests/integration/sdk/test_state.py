"""State with the SDK's client."""

from collections.abc import Callable
from typing import Any

from tests.integration.harness import World
from tests.integration.state import stores


def test_state_is_saved_read_queried_and_deleted(world: World, call: Callable[..., Any]) -> None:
    sidecar = stores.start(world, stores.sqlite(world, "statestore")).await_ready()

    told = call(sidecar, "state", "statestore")

    assert told == {
        "first": "value_1",
        "etag": "ABORTED",
        "many": ["value_3", "two", "\x00three", ""],
        "query": [["person", {"state": "WA", "id": 7}]],
        "left": ["", "", "four"],
    }
