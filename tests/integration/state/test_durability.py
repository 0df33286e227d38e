"""State in a SQLite file: what was acknowledged is there, whoever of those that share the file is killed and when."""

import contextlib
import http.client
import json
import os
import random
import signal
import sqlite3
import threading
import time
from dataclasses import dataclass, field

import pytest
from tests.integration.harness import Sidecar, World
from tests.integration.state import stores

KILLS = int(os.environ.get("PYDAPR_TEST_KILLS", "3"))
"""How often a sidecar is killed; more for a long run."""

MANY = int(os.environ.get("PYDAPR_TEST_SIDECARS", "3"))
"""Sidecars that share the file."""

WRITERS = 3
"""Clients of each sidecar."""


@dataclass
class Writer:
    """Writes one key after the other, alone and in transactions, by whatever sidecar has its port now."""

    name: str
    port: int
    stop: threading.Event
    last: dict[str, int] = field(default_factory=dict)
    """The value of each key that was acknowledged last."""
    tried: dict[str, int] = field(default_factory=dict)
    """The value of each key whose write was begun last."""
    acknowledged: int = 0
    refused: list[str] = field(default_factory=list)

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            self._write(connection)

    def _write(self, connection: http.client.HTTPConnection) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            keys = [f"{self.name}-{number % 7}"] if number % 3 else [f"{self.name}-a", f"{self.name}-b"]
            self.tried.update(dict.fromkeys(keys, number))
            try:
                status, body = _write(connection, keys, number)
            except (OSError, http.client.HTTPException):
                connection.close()  # it connects anew by itself
                time.sleep(0.01)
                continue
            if status == 204:
                self.last.update(dict.fromkeys(keys, number))
                self.acknowledged += 1
            else:
                self.refused.append(body)


def _write(connection: http.client.HTTPConnection, keys: list[str], number: int) -> tuple[int, str]:
    values = [{"key": key, "value": {"number": number, "filling": "x" * (number % 50) * 40}} for key in keys]
    target, document = "/v1.0/state/lite", json.dumps(values)
    if len(keys) > 1:
        target += "/transaction"
        document = json.dumps({"operations": [{"operation": "upsert", "request": value} for value in values]})
    connection.request("POST", target, document)
    reply = connection.getresponse()
    return reply.status, reply.read().decode()


def again(world: World, sidecar: Sidecar, name: str) -> Sidecar:
    """The sidecar anew, on the ports that it had."""
    flags = (
        "--dapr-http-port", str(sidecar.http), "--dapr-grpc-port", str(sidecar.grpc),
        "--dapr-internal-grpc-port", str(sidecar.internal), "--metrics-port", str(sidecar.metrics),
    )  # fmt: skip
    made = stores.start(world, stores.sqlite(world, keyPrefix="shared"), name=name, flags=flags)
    made.http = sidecar.http
    return made


@pytest.mark.parametrize("sidecars", [1, MANY])
def test_no_acknowledged_write_is_lost_when_sidecars_are_killed(world: World, sidecars: int) -> None:
    resource = stores.sqlite(world, keyPrefix="shared")
    names = [f"app{n}" for n in range(sidecars)]
    running = [stores.start(world, resource, name=name) for name in names]
    for one in running:
        one.await_ready()
    stop = threading.Event()
    both = list(zip(names, running, strict=True))
    writers = [Writer(f"{name}-{n}", one.http, stop) for name, one in both for n in range(WRITERS)]
    threads = [threading.Thread(target=writer.run) for writer in writers]
    for thread in threads:
        thread.start()
    try:
        for _ in range(KILLS):
            before = [writer.acknowledged for writer in writers]
            deadline = time.monotonic() + 30
            while any(now.acknowledged - then < 20 for now, then in zip(writers, before, strict=True)):
                assert time.monotonic() < deadline, [writer.refused[-1:] for writer in writers]
                time.sleep(0.01)
            which = random.randrange(sidecars)
            running[which].send_signal(signal.SIGKILL)
            running[which].exit_code()
            running[which] = again(world, running[which], names[which])
            running[which].await_ready()
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    with contextlib.closing(sqlite3.connect(world.folder / "state.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        there = {key: json.loads(value)["number"] for key, value in db.execute("SELECT key, value FROM state")}
    for writer in writers:
        # A write that was under way when its sidecar was killed may have happened; an older one may not stand there.
        for key, number in writer.last.items():
            assert number <= there[f"shared||{key}"] <= writer.tried[key], key
        if f"{writer.name}-a" in writer.last:
            assert there[f"shared||{writer.name}-a"] == there[f"shared||{writer.name}-b"]
        assert not [text for text in writer.refused if "locked" in text]
        assert not writer.refused


def test_counter_of_several_sidecars_loses_no_step(world: World) -> None:
    resource = stores.sqlite(world, keyPrefix="shared")
    running = [stores.start(world, resource, name=f"app{n}") for n in range(3)]
    for one in running:
        one.await_ready()
    body = b'[{"key":"counter","value":0}]'
    assert running[0].call("POST", "/v1.0/state/lite", body=body).status == 204
    wrong: list[int] = []

    def count(port: int) -> None:
        left = 25
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            while left and not wrong:
                connection.request("GET", "/v1.0/state/lite/counter")
                reply = connection.getresponse()
                value, etag = int(reply.read()), reply.getheader("etag")
                changed = [{"key": "counter", "value": value + 1, "etag": etag}]
                connection.request("POST", "/v1.0/state/lite", json.dumps(changed))
                reply = connection.getresponse()
                reply.read()
                left -= reply.status == 204
                if reply.status not in (204, 409):
                    wrong.append(reply.status)

    threads = [threading.Thread(target=count, args=(one.http,)) for one in running]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert not wrong
    assert running[0].call("GET", "/v1.0/state/lite/counter").body == b"75"


def test_what_has_ended_is_removed_in_the_interval(world: World) -> None:
    sidecar = stores.start(world, stores.sqlite(world, cleanupInterval="1s")).await_ready()
    body = b'[{"key":"short","value":1,"metadata":{"ttlInSeconds":"1"}},{"key":"long","value":1}]'
    assert sidecar.call("POST", "/v1.0/state/lite", body=body).status == 204

    deadline = time.monotonic() + 20
    while True:
        with contextlib.closing(sqlite3.connect(world.folder / "state.db")) as db:
            keys = [key for (key,) in db.execute("SELECT key FROM state")]
        if keys == [f"{sidecar.app_id}||long"]:
            break
        assert time.monotonic() < deadline, keys
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({}, "connectionString is required"),
        ({"connectionString": "/no/such/folder/x.db"}, "unable to open database file"),
        ({"connectionString": "x.db", "tableName": "a b"}, "invalid identifier: a b"),
        ({"connectionString": "x.db", "timeout": "10ms"}, "must be greater than 1s"),
        ({"connectionString": "x.db?_pragma=busy_timeout(1)"}, "please use `busyTimeout` instead"),
    ],
)
def test_store_that_cannot_be_opened_stops_the_start(world: World, metadata: dict[str, str], reason: str) -> None:
    sidecar = stores.start(world, stores.component("lite", "state.sqlite", **metadata))

    assert sidecar.exit_code() != 0
    assert reason in sidecar.log
