"""Pluggable components for a test, gone at its end."""

import shutil
from collections.abc import Callable, Iterator

import pytest
from tests.integration.harness import World
from tests.integration.pluggable.serving import Served, folder

Serve = Callable[[str, str], Served]


@pytest.fixture
def serve(world: World) -> Iterator[Serve]:
    """Serves a component of a type under a name."""
    served: list[Served] = []

    def one(type_: str, name: str) -> Served:
        served.append(Served(world, type_, name))
        return served[-1]

    yield one
    for process in served:
        process.close()
    shutil.rmtree(folder(world)["DAPR_COMPONENTS_SOCKETS_FOLDER"])
