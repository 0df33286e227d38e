"""A world of apps and sidecars for each test; when a test fails the sidecars' logs are shown."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from tests.integration import harness

WORLD = pytest.StashKey[harness.World]()
"""Of a test: there as soon as it is made, also for fixtures that fail."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    world = item.stash.get(WORLD, None)
    if report.failed and world is not None:
        report.sections.append(("sidecars", world.logs()))
    return report


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[harness.World]:
    made = request.node.stash[WORLD] = harness.World(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.World]:
    """A world for the tests of a file that leave nothing behind."""
    made = harness.World(tmp_path_factory.mktemp("world"))
    yield made
    made.close()
