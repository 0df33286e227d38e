"""pubsub.mqtt3 publishes to topics of an MQTT 3.1.1 broker, and subscribes to them, wildcards and `$share/` included.

The consumer ID is the client's id: with `cleanSession: "false"`, the broker keeps the messages of a sidecar that is
away. Two sidecars at a time cannot have the same; with `{uuid}` in it each has one of its own. A message is
acknowledged when the app has taken it. One that it did not take is tried again after 1 s, and then less and less
often up to once in 30 s; it stays with the broker until then.
"""

from collections.abc import Mapping

from pydapr.components import Wrong, component, option, options
from pydapr.components.drivers import mqtt, mqtt_packets
from pydapr.components.pubsub import (
    WILDCARDS,
    Handler,
    Message,
    NotProcessed,
    PubSub,
    PubSubError,
    Subscription,
)
from pydapr.lib import truth
from pydapr.observe import logging

log = logging.get("dapr.contrib")

_YES, _NO = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0


@options
class Options:
    url: str = option("How to reach the broker: `tcp://user:password@host:1883`, or `ssl://` for TLS.")
    consumer_id: str = option("The client's id; the app's id by default.", default="")
    qos: int = option("0 at most once, 1 at least once, 2 exactly once, between broker and sidecar.", default=1)
    retain: bool = option(
        "Whether the broker keeps the last message of a topic for who subscribes later.", default=False
    )
    clean_session: bool = option("Whether the broker forgets us when we are away.", default=False)
    ca_cert: str = option("Certificates to trust, as PEM; those of the system when empty.", default="")
    client_cert: str = option("Our certificate, as PEM.", default="")
    client_key: str = option("The key of our certificate, as PEM.", default="")


def pause(tries: int) -> float:
    """How long after so many tries another one follows."""
    return float(min(FIRST_PAUSE * 2 ** min(tries - 1, 10), LONGEST_PAUSE))


@component("pubsub.mqtt3", Options)
class Mqtt3(PubSub):
    features = (WILDCARDS,)

    def __init__(self, options: Options) -> None:
        if not 0 <= options.qos <= 2:
            raise Wrong(f"invalid qos {options.qos}: 0, 1 or 2 is wanted")
        if not options.consumer_id:
            raise Wrong("missing consumerID")
        mqtt.check_certificates(options.ca_cert, options.client_cert, options.client_key)
        where = mqtt.place(options.url).replace(
            ca_cert=options.ca_cert, client_cert=options.client_cert, client_key=options.client_key
        )
        self._qos, self._retains, self._is_clean = options.qos, options.retain, options.clean_session
        self._client = mqtt.Client(where, options.consumer_id, is_clean=options.clean_session)

    async def open(self) -> None:
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    async def publish(self, message: Message) -> None:
        text = message.metadata.get("retain", "")
        if text and text not in _YES and text not in _NO:
            raise PubSubError(f"mqtt invalid retain {text}: true or false is wanted")
        try:
            await self._client.publish(
                message.topic, message.data, self._qos, is_retained=text in _YES if text else self._retains
            )
        except mqtt.Failed as error:
            raise PubSubError(f"failed to publish: {error}") from None

    async def subscribe(self, topic: str, metadata: Mapping[str, str], handler: Handler) -> Subscription:
        if not topic:
            raise PubSubError("topic name is empty")

        async def handle(message: mqtt_packets.Publish) -> bool:
            about = {"retained": "true" if message.is_retained else "false"}
            try:
                await handler(Message(message.topic, message.payload, about))
            except NotProcessed as error:
                log.error(f"mqtt: message of topic {message.topic} was not processed: {error}")
                return False
            return True

        listening = mqtt.Listening(self._client, topic, self._qos, handle, pause)
        try:
            await self._client.subscribe(listening)
        except (mqtt.Failed, ValueError) as error:
            raise PubSubError(f"mqtt error from subscribe: {error}") from None
        forgets = self._is_clean or truth.is_true(metadata.get("unsubscribeOnClose", ""))
        return _Subscription(self._client, listening, forgets)


class _Subscription(Subscription):
    def __init__(self, client: mqtt.Client, listening: mqtt.Listening, forgets: bool) -> None:
        self._client, self._listening, self._forgets = client, listening, forgets

    async def close(self) -> None:
        await self._listening.close()
        if self._forgets:
            self._forgets = False
            await self._client.unsubscribe(self._listening.wanted)
