"""`dapr publish` with what `dapr run` started, and the broker that it gives."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration.harness import free_port

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Dapr, Run

APP = """
import http.server, json, sys
class App(http.server.BaseHTTPRequestHandler):
    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer(json.dumps([{"pubsubname": "pubsub", "topic": "t/1", "route": "/t"}]))
    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print("came", event["id"], event["data"], flush=True)
        self.answer("{}")
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", PORT), App).serve_forever()
"""


@pytest.fixture
def running(dapr: "Dapr", script: Callable[[str], list[str]]) -> "tuple[str, Run]":
    app_id, port = dapr.app_id("orders"), free_port()
    run = dapr.start("run", "--app-id", app_id, "--app-port", str(port), "--", *script(APP.replace("PORT", str(port))))
    run.await_up()
    return app_id, run


def test_events_reach_the_app(dapr: "Dapr", running: "tuple[str, Run]", tmp_path: Path) -> None:
    app_id, run = running
    to = ("publish", "--publish-app-id", app_id, "--pubsub", "pubsub", "--topic", "t/1")
    metadata = json.dumps({"cloudevent.id": "mine", "ttlInSeconds": 60})
    assert dapr.call(*to, "--data", '{"n":1}', "-m", metadata).output() == "✅  Event published successfully\n"
    run.await_output("came mine {'n': 1}")

    file = tmp_path / "event.json"
    file.write_text('{"id":"own","source":"me","specversion":"1.0","type":"t","data":"text"}')
    assert dapr.call(*to, "--data-file", str(file)).exit_code() == 0
    run.await_output("came own text")


def test_what_goes_wrong_is_said(dapr: "Dapr", running: "tuple[str, Run]") -> None:
    app_id, _ = running

    def failed(*flags: str) -> str:
        done = dapr.call("publish", "-i", app_id, "-t", "t", *flags)
        assert done.exit_code() == 1
        return done.errors()

    reason = "unexpected status code 404 on publishing to t in none: pubsub none is not found"
    assert failed("-p", "none", "-d", "1") == f"❌  Error publishing topic t: {reason}\n"
    assert failed("-p", "pubsub", "-d", "1", "-f", "x") == (
        "❌  Only one of --data and --data-file allowed in the same publish command\n"
    )
    assert "Error reading payload from '/nowhere'" in failed("-p", "pubsub", "-f", "/nowhere")
    assert "Error parsing metadata as JSON" in failed("-p", "pubsub", "-m", "{")
    assert "an object is wanted" in failed("-p", "pubsub", "-m", "[1]")
    missing = dapr.call("publish", "-i", dapr.app_id("none"), "-p", "pubsub", "-t", "t")
    assert missing.errors().endswith(f"couldn't find a running Dapr instance of app ID {dapr.app_id('none')}\n")
