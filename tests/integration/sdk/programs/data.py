"""Uses cryptography, locks and configuration with the official SDK, and prints what came of it as one line of JSON.

usage: data.py TABLE     TABLE is the file of the configuration store; where the sidecar is the environment says
"""

import json
import queue
import sqlite3
import sys
import warnings
from typing import Any

from dapr.clients import DaprClient
from dapr.clients.grpc._crypto import DecryptOptions, EncryptOptions

warnings.simplefilter("ignore")  # these APIs are alpha, and the SDK says so each time


def crypto(client: DaprClient) -> Any:
    data = bytes(range(256)) * 4000
    sizes, back = [], []
    for key, algorithm in (("rsa.pem", "RSA"), ("base64", "AES")):
        document = client.encrypt(data, EncryptOptions("files", key, algorithm)).read()
        sizes.append(len(document))
        back.append(client.decrypt(document, DecryptOptions("files", key)).read() == data)
    return {"larger": all(size > len(data) for size in sizes), "same": back}


def lock(client: DaprClient) -> Any:
    with client.try_lock("locks", "thing", "me", 60) as first:
        second = client.try_lock("locks", "thing", "you", 60)
        others = client.unlock("locks", "thing", "you")
        found = [first.success, second.success, others.status.name]
    return [*found, client.unlock("locks", "thing", "me").status.name]


def configuration(client: DaprClient, path: str) -> Any:
    table = sqlite3.connect(path, isolation_level=None)
    table.execute("INSERT INTO configuration (key, value) VALUES ('a', '1'), ('b', '2')")
    items = client.get_configuration("store", ["a", "b"]).items
    told: queue.Queue[Any] = queue.Queue()
    name = client.subscribe_configuration("store", ["a"], lambda id_, answer: told.put(answer.items))
    table.execute("UPDATE configuration SET value = '3'")
    changed = told.get(timeout=20)
    ended = client.unsubscribe_configuration("store", name)
    return {
        "items": {key: [item.value, item.version] for key, item in items.items()},
        "changed": {key: [item.value, item.version] for key, item in changed.items()},
        "ended": ended,
    }


with DaprClient() as opened:
    done = {"crypto": crypto(opened), "lock": lock(opened), "configuration": configuration(opened, sys.argv[1])}
sys.stdout.write(json.dumps(done) + "\n")
