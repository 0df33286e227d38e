"""Kafka's metadata: what cannot be used is refused in the original's words, and what older forms mean."""

import logging
from collections.abc import Mapping

import pytest

from pydapr import components
from pydapr.components.drivers.kafka import Kafka, Options, _Calm

LEAST = {"brokers": "a:9092,b:9092", "authType": "none"}


def make(**metadata: str) -> Kafka:
    return Kafka(components.read(Options, {**LEAST, **metadata}), retries=True)


def make_binding(**metadata: str) -> Kafka:
    return Kafka(components.read(Options, {**LEAST, **metadata}), retries=False)


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"brokers": ""}, "missing 'brokers' attribute"),
        ({"initialOffset": "middle"}, "invalid initialOffset: middle"),
        ({"compression": "rar"}, "invalid compression: rar"),
        ({"version": "two"}, "invalid kafka version"),
        ({"producerRequiredAcks": "some"}, "invalid value for 'producerRequiredAcks': \"some\""),
        ({"backOffPolicy": "random"}, "invalid backOffPolicy: random"),
        ({"consumeRetryInterval": "soon"}, "invalid value for 'consumeRetryInterval' attribute"),
        ({"heartbeatInterval": "10s"}, "sessionTimeout must be at least twice the heartbeatInterval"),
        ({"excludeHeaderMetaRegex": "("}, "excludeHeaderMetaRegex"),
        ({"channelBufferSize": "many"}, "channelBufferSize"),
    ],
)
def test_metadata_that_cannot_be_used(metadata: Mapping[str, str], text: str) -> None:
    with pytest.raises(components.Wrong, match=text):
        make(**metadata)


def test_group_is_the_consumer_id_where_none_is_named() -> None:
    assert make(consumerID="app").reading.group == "app"
    assert make(consumerID="app", consumerGroup="group").reading.group == "group"


def test_tries_are_the_kinds_unless_the_metadata_say() -> None:
    assert make().reading.retry is not None
    assert make_binding().reading.retry is None
    assert make(consumeRetryEnabled="false").reading.retry is None
    grow = {"backOffPolicy": "exponential", "backOffInitialInterval": "2s"}
    found = make_binding(consumeRetryEnabled="true", **grow).reading.retry
    assert found is not None and found.is_exponential and found.initial_interval == 2.0


@pytest.mark.parametrize(("text", "seconds"), [("250", 0.25), ("2s", 2.0), ("", 0.0)])
def test_numbers_are_milliseconds(text: str, seconds: float) -> None:
    assert make(consumeRetryInterval=text).reading.pause == seconds


def test_library_does_not_repeat_itself_in_the_log() -> None:
    calm = _Calm()
    records = [logging.LogRecord("aiokafka", logging.ERROR, "", 0, text, (), None) for text in ("a %s", "a %s", "b")]

    assert [calm.filter(one) for one in records] == [True, False, True]
