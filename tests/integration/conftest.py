"""A world of apps and sidecars for each test; when a test fails the sidecars' logs are shown."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from tests.integration import harness


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    world = getattr(item, "funcargs", {}).get("world")
    if report.failed and isinstance(world, harness.World):
        report.sections.append(("sidecars", world.logs()))
    return report


@pytest.fixture
def world(tmp_path: Path) -> Iterator[harness.World]:
    made = harness.World(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.World]:
    """A world for the tests of a file that leave nothing behind."""
    made = harness.World(tmp_path_factory.mktemp("world"))
    yield made
    made.close()
