"""Publishes and subscribes with the official SDK, over a stream, and prints what came of it as one line of JSON.

usage: messages.py PUBSUB     where the sidecar is the environment says
"""

import json
import queue
import sys
from typing import Any

from dapr.clients import DaprClient
from dapr.clients.grpc._response import TopicEventResponse

PUBSUB = sys.argv[1]


def publish(client: DaprClient, *numbers: int) -> None:
    for number in numbers:
        client.publish_event(PUBSUB, "orders", json.dumps({"n": number}), data_content_type="application/json")


def take(subscription: Any, count: int) -> list[int]:
    """The numbers of messages that are taken, one after the other; the third is refused, and comes to the letters."""
    found = []
    for _ in range(count):
        message = subscription.next_message()
        found.append(message.data()["n"])
        if found[-1] == 3:
            subscription.respond_drop(message)
        else:
            subscription.respond_success(message)
    return found


with DaprClient() as opened:
    letters: queue.Queue[Any] = queue.Queue()

    def bury(message: Any) -> TopicEventResponse:
        letters.put([message.topic(), message.data()["n"]])
        return TopicEventResponse("success")

    end = opened.subscribe_with_handler(PUBSUB, "dead", handler_fn=bury)
    reading: Any = opened.subscribe(PUBSUB, "orders", dead_letter_topic="dead")
    publish(opened, 1, 2, 3, 4)
    done = {"taken": sorted(take(reading, 4)), "letter": letters.get(timeout=20)}
    reading.close()
    end()
sys.stdout.write(json.dumps(done) + "\n")
