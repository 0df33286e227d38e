"""Schedulers of one test, stopped at its end; when a test fails their logs are shown."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.scheduler.process import Scheduler

Start = Callable[..., Scheduler]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    made: list[Scheduler] = []

    def one(*flags: str, again: Scheduler | None = None, **options: object) -> Scheduler:
        made.append(again.again() if again is not None else Scheduler(tmp_path, *flags, **options))  # type: ignore[arg-type]
        return made[-1]

    yield one
    for scheduler in made:
        scheduler.kill()
    for scheduler in made[-1:]:
        print(scheduler.log)  # noqa: T201 - pytest shows it with a failure


@pytest.fixture
def scheduler(start: Start) -> Scheduler:
    return start().await_ready()
