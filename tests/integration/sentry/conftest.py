"""Authorities of one test, stopped at its end; when a test fails their logs are shown."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.sentry.authority import Authority

Start = Callable[..., Authority]


@pytest.fixture
def start(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Start]:
    made: list[Authority] = []

    def one(*flags: str, folder: Path = tmp_path, **options: object) -> Authority:
        made.append(Authority(folder, *flags, **options))  # type: ignore[arg-type]
        return made[-1]

    yield one
    for authority in made:
        authority.kill()
        print(authority.log)  # noqa: T201 - pytest shows it with a failure


@pytest.fixture
def ready(start: Start) -> Start:
    """The same, and waits until it is ready."""

    def one(*flags: str, **options: object) -> Authority:
        return start(*flags, **options).await_ready()

    return one
