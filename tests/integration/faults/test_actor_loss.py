"""Actors, reminders and jobs when sidecars, apps, placement and the scheduler are killed: the short form of
`scripts/soak --actors`."""

from pathlib import Path

from tests.integration.faults import actor_loss

SECONDS, KILLS = 90.0, 10
BETWEEN = 12
"""Increments, so that what is killed was at work."""


def test_nothing_acknowledged_is_lost_and_no_actor_is_in_two_places(tmp_path: Path) -> None:
    with actor_loss.trial(tmp_path, sidecars=2, actors=8, seed=11) as trial:
        trial.run(lambda: 0.8, SECONDS, KILLS, BETWEEN)
        trial.await_all(30.0)

        assert not trial.lost()
        assert not trial.overlaps()
        assert not trial.early()
        assert trial.acknowledged() > 50
        assert sum(trial.kills.values()) == KILLS
        assert any(client.due for client in trial.clients)
