"""`dapr run` with nothing configured: stores and a broker are there, for all apps, and never over the user's own."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration import harness

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Dapr

APP = """
import os, urllib.request
base = f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}/v1.0"
def call(target, body=None):
    with urllib.request.urlopen(base + target, body, timeout=20) as reply:
        return reply.read().decode()
TODO
"""

KEEP = """
call("/state/statestore", b'[{"key":"kept","value":"between runs"}]')
print("saved")
"""
READ = 'print("read", call("/state/statestore/kept"))'
LOCK = """
lock = b'{"resourceId":"r","lockOwner":"me","expiryInSeconds":60}'
base = base.replace("v1.0", "v1.0-alpha1")
print("locked", call("/lock/lockstore", lock), call("/lock/lockstore", lock))
"""
CONFIGURE = """
print("empty", call("/configuration/configstore"))
import sqlite3
db = sqlite3.connect(os.path.expanduser("~/.dapr/embedded/configuration.db"))
db.execute("INSERT INTO configuration (key, value) VALUES ('colour', 'blue')")
db.commit()
print("found", call("/configuration/configstore?key=colour"))
"""
PUBLISH = 'call("/publish/pubsub/orders", b"TEXT"); print("published")'
READER = """
import http.server, json, threading

def publish():
    call("/publish/pubsub/orders", b"first")

class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        here = [{"pubsubname": "pubsub", "topic": "orders", "route": "/orders"}]
        is_asked = self.path == "/dapr/subscribe"
        self.answer(json.dumps(here if is_asked else {}).encode())
        if is_asked and PUBLISHES:
            threading.Thread(target=publish, daemon=True).start()

    def do_POST(self):
        got = json.loads(self.rfile.read(int(self.headers["content-length"])))["data"]
        self.answer(b"{}")
        print("got", got, flush=True)
        server.done = True

    def answer(self, body):
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = http.server.HTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), Answers)
server.done = False
while not server.done:
    server.handle_request()
"""
LIST = 'import json; print("there", [one["name"] for one in json.loads(call("/metadata"))["components"]])'


@pytest.fixture
def run(dapr: "Dapr", script: Callable[[str], list[str]]) -> Callable[..., str]:
    def run(todo: str, *flags: str) -> str:
        made = dapr.call("run", "--app-id", dapr.app_id("a"), *flags, "--", *script(APP.replace("TODO", todo)))
        assert made.exit_code() == 0, made.output() + made.errors()
        return made.output()

    return run


def test_state_is_kept_between_runs(run: Callable[..., str]) -> None:
    assert "saved" in run(KEEP)
    assert 'read "between runs"' in run(READ)


def test_locks_are_there(run: Callable[..., str]) -> None:
    output = run(LOCK)

    assert 'locked {"success":true} {"success":false}' in output.replace(" true", "true").replace(" false", "false")


def test_configuration_is_there(run: Callable[..., str]) -> None:
    output = run(CONFIGURE)

    assert '"value":"blue"' in output.replace(": ", ":")


def test_messages_wait_for_an_app_that_is_away(
    dapr: "Dapr", script: Callable[[str], list[str]], run: Callable[..., str]
) -> None:
    def read(publishes: bool) -> str:
        text = APP.replace("TODO", READER.replace("PUBLISHES", str(publishes)))
        made = dapr.call(
            "run", "--app-id", dapr.app_id("reader"), "--app-port", str(harness.free_port()), "--", *script(text)
        )
        assert made.exit_code() == 0, made.output() + made.errors()
        return made.output()

    assert "got first" in read(publishes=True)
    assert "published" in run(PUBLISH.replace("TEXT", "meanwhile"))
    assert "got meanwhile" in read(publishes=False)


def test_what_is_not_used_makes_no_file(run: Callable[..., str], dapr: "Dapr") -> None:
    run(LIST)

    assert {path.name for path in (dapr.directory / ".dapr" / "embedded").glob("*.db")} == {"state.db"}


def test_resources_of_the_user_are_all_there_is(run: Callable[..., str], dapr: "Dapr", tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    document = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": "mine"},
        "spec": {"type": "state.in-memory", "version": "v1", "metadata": []},
    }
    (own / "mine.yaml").write_text(json.dumps(document))

    assert "there ['mine']" in run(LIST, "--resources-path", str(own))
    assert "there ['configstore', 'lockstore', 'pubsub', 'statestore']" in run(LIST)

    os.rename(own, dapr.directory / ".dapr" / "components")
    assert "there ['mine']" in run(LIST)
