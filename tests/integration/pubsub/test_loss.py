"""Nothing acknowledged is lost when sidecars, apps and brokers are killed: the short form of `scripts/soak`."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance import servers
from tests.integration.pubsub import loss

MESSAGES = 100_000
"""More than are published until all are killed."""

KILLS = 6
BETWEEN = 40
"""Messages, so that what is killed was at work."""

SECONDS = 120.0


@pytest.fixture(autouse=True, scope="module")
def no_server_stays() -> Iterator[None]:
    yield
    servers.stop_all()


@pytest.mark.parametrize("broker", ["sqlite", "redis", "rabbitmq"])
def test_what_was_acknowledged_arrives_whoever_is_killed(tmp_path: Path, broker: str) -> None:
    with loss.trial(tmp_path, broker, MESSAGES, seed=7) as trial:
        trial.run(lambda: 0.4, SECONDS, KILLS, BETWEEN)
        trial.await_all(40.0, 80.0)

        assert not trial.disorder()
        assert trial.acknowledged() > 100
        assert sum(trial.kills.values()) == KILLS
        if broker == "sqlite":
            assert not [text for publisher in trial.publishers for text in publisher.refused]
