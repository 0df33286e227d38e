"""Metadata with which RabbitMQ, MQTT and JetStream cannot be used are refused, and the message names what is wrong."""

import pytest

from pydapr import components
from pydapr.components import Wrong

MQTT, RABBITMQ, JETSTREAM = "pubsub.mqtt3", "pubsub.rabbitmq", "pubsub.jetstream"


@pytest.mark.parametrize(
    ("type_", "metadata", "text"),
    [
        (RABBITMQ, {"connectionString": "http://host"}, "amqp://"),
        (RABBITMQ, {"connectionString": "amqp://host", "protocol": "amqps"}, "protocol does not match"),
        (RABBITMQ, {"deliveryMode": "3"}, "delivery mode"),
        (RABBITMQ, {"prefetchCount": "256"}, "prefetchCount"),
        (RABBITMQ, {"exchangeKind": "other"}, "invalid RabbitMQ exchange kind other"),
        (RABBITMQ, {"concurrencyMode": "other"}, "invalid concurrencyMode other"),
        (RABBITMQ, {"ttlInSeconds": "x"}, "ttl"),
        (RABBITMQ, {"caCert": "x"}, "invalid caCert"),
        (RABBITMQ, {"saslExternal": "true"}, "saslExternal"),
        (MQTT, {"consumerID": "a"}, "url is required"),
        (MQTT, {"url": "tcp://host"}, "missing consumerID"),
        (MQTT, {"url": "http://me:hidden@host", "consumerID": "a"}, "tcp://host:1883"),
        (MQTT, {"url": "tcp://host", "consumerID": "a", "qos": "3"}, "invalid qos 3"),
        (MQTT, {"url": "tcp://host", "consumerID": "a", "clientKey": "x"}, "invalid clientKey"),
        ("bindings.mqtt", {"url": "tcp://host", "consumerID": "a"}, "topic is required"),
        ("bindings.rabbitmq", {"host": "amqp://h", "queueName": "q", "maxPriority": "x"}, "maxPriority"),
        ("bindings.rabbitmq", {"host": "amqp://h", "queueName": "q", "ttlInSeconds": "-1"}, "TTL"),
        ("bindings.rabbitmq", {"host": "amqp://h"}, "queueName is required"),
        (JETSTREAM, {}, "natsURL is required"),
        (JETSTREAM, {"natsURL": "n", "jwt": "x"}, "missing seed key"),
        (JETSTREAM, {"natsURL": "n", "seedKey": "x"}, "missing jwt"),
        (JETSTREAM, {"natsURL": "n", "tls_client_cert": "x"}, "missing tls client key"),
        (JETSTREAM, {"natsURL": "n", "tls_client_key": "x"}, "missing tls client cert"),
        (JETSTREAM, {"natsURL": "n", "deliverPolicy": "x"}, "deliver policy x is not one of"),
        (JETSTREAM, {"natsURL": "n", "backOff": "1s,x"}, "backOff"),
        (JETSTREAM, {"natsURL": "n", "concurrency": "x"}, "invalid concurrencyMode x"),
        ("state.jetstream", {"natsURL": "n"}, "bucket is required"),
    ],
)
def test_metadata_that_cannot_be_used(type_: str, metadata: dict[str, str], text: str) -> None:
    found = components.find(type_)
    assert found is not None

    with pytest.raises(Wrong, match=text) as raised:
        found.make(components.read(found.options, metadata))
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("alias", ["pubsub.mqtt", "bindings.mqtt"])
def test_mqtt_has_another_name(alias: str) -> None:
    found = components.find(alias, "v1")

    assert found is not None
    assert found.name == f"{alias}3"
