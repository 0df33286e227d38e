"""What apps say of their actors."""

import pytest

from pydapr.blocks.actors import Reentrancy, TypeOptions, config


def test_without_settings_the_defaults_hold() -> None:
    found = config.options(config.read(b'{"entities":["Cat","Dog"]}'), 30)
    assert found == dict.fromkeys(("Cat", "Dog"), TypeOptions(3600.0, 2.0, True, Reentrancy(False, 32)))


@pytest.mark.parametrize("document", [b"{}", b"null", b'{"entities":null}', b'{"entities":[]}'])
def test_an_app_without_actors(document: bytes) -> None:
    assert config.options(config.read(document), 30) == {}


def test_settings_are_for_all_and_types_have_their_own() -> None:
    document = b"""{"Entities":["Cat","Dog"],"actorIdleTimeout":"1m","drainOngoingCallTimeout":"5s",
    "drainRebalancedActors":false,"reentrancy":{"enabled":true,"maxStackDepth":5},"remindersStoragePartitions":3,
    "entitiesConfig":[{"entities":["Dog","Bird"],"drainOngoingCallTimeout":"7s","drainRebalancedActors":true}]}"""
    found = config.options(config.read(document), 30)
    assert found == {
        "Cat": TypeOptions(60.0, 5.0, False, Reentrancy(True, 5)),
        "Dog": TypeOptions(3600.0, 7.0, True, Reentrancy(False, 32)),
    }


def test_a_drain_leaves_time_for_the_round() -> None:
    document = b'{"entities":["Cat"],"drainOngoingCallTimeout":"30s"}'
    assert config.options(config.read(document), 30)["Cat"].drain_seconds == 24.0
    assert config.options(config.read(document), 31)["Cat"].drain_seconds == 30.0
    assert config.options(config.read(document), 1)["Cat"].drain_seconds == 2.0
    assert config.options(config.read(document), 0)["Cat"].drain_seconds == 30.0


@pytest.mark.parametrize(
    "document",
    [
        b"[",
        b"5",
        b'{"entities":"Cat"}',
        b'{"entities":[5]}',
        b'{"entities":["Cat"],"actorIdleTimeout":"soon"}',
        b'{"entities":["Cat"],"drainOngoingCallTimeout":"1"}',
        b'{"entities":["Cat"],"reentrancy":{"enabled":"yes"}}',
        b'{"entities":["Cat"],"reentrancy":{"maxStackDepth":"5"}}',
        b'{"entities":["Cat"],"entitiesConfig":{}}',
    ],
)
def test_what_cannot_be_read_is_refused(document: bytes) -> None:
    with pytest.raises(config.Wrong):
        config.options(config.read(document), 30)


def test_a_wrong_time_of_one_type_is_passed_over() -> None:
    document = b"""{"entities":["Cat"],"entitiesConfig":[{"entities":["Cat"],"actorIdleTimeout":"x",
    "drainOngoingCallTimeout":"y"}]}"""
    assert config.options(config.read(document), 30)["Cat"] == TypeOptions(3600.0, 2.0, True, Reentrancy(False, 32))
