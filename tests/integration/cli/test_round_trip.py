"""`dapr list`, `dapr invoke` and `dapr stop` with what `dapr run` started."""

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.integration.harness import free_port

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Dapr

APP = """
import http.server

class Echo(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(200 if self.path == "/echo" else 404, body)

    def do_GET(self):
        self.answer(200 if self.path == "/hello" else 404, b"hello")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Echo)
print("listening")
server.serve_forever()
"""


def test_list_invoke_stop(dapr: "Dapr", script: Callable[[str], list[str]]) -> None:
    app_id, port = dapr.app_id("orders"), free_port()
    command = script(APP.replace("PORT", str(port)))
    run = dapr.start("run", "--app-id", app_id, "--app-port", str(port), "--", *command)
    run.await_up()

    listed = [row for row in json.loads(dapr.call("list", "-o", "json").output()) if row["appId"] == app_id]
    assert [(row["appPort"], row["cliPid"]) for row in listed] == [(port, run.process.pid)]
    assert os.path.exists(f"/proc/{listed[0]['appPid']}")
    assert listed[0]["command"] == " ".join(command)[:17] + "..."
    assert app_id in dapr.call("list").output()

    posted = dapr.call("invoke", "--app-id", app_id, "--method", "echo", "--data", '{"n":1}')
    assert posted.output() == '{"n":1}\n✅  App invoked successfully\n'
    got = dapr.call("invoke", "-a", app_id, "-m", "hello", "-v", "GET")
    assert got.output() == "hello\n✅  App invoked successfully\n"
    missing = dapr.call("invoke", "-a", app_id, "-m", "missing")
    assert (missing.exit_code(), missing.errors()) == (
        1,
        f"❌  error invoking app {app_id}: 404 Not Found\n",
    )

    assert dapr.call("stop", app_id).output() == f"✅  app stopped successfully: {app_id}\n"
    assert run.exit_code() == 0
    dapr.await_nothing_left()


def test_unknown_apps_are_named(dapr: "Dapr") -> None:
    stopped = dapr.call("stop", "--app-id", dapr.app_id("none"))
    assert (stopped.exit_code(), stopped.errors()) == (
        0,
        f"❌  failed to stop app id {dapr.app_id('none')}: couldn't find app id {dapr.app_id('none')}\n",
    )

    invoked = dapr.call("invoke", "-a", dapr.app_id("none"), "-m", "x")
    assert (invoked.exit_code(), invoked.errors()) == (
        1,
        f"❌  error invoking app {dapr.app_id('none')}: app ID {dapr.app_id('none')} not found\n",
    )


def test_stop_ends_a_sidecar_that_no_command_line_started(dapr: "Dapr") -> None:
    app_id = dapr.app_id("orphan")
    sidecar = dapr.start_sidecar(app_id)

    for output in ("yaml", "table", "json"):
        assert app_id in dapr.call("list", "--output", output).output()
    dapr.call("stop", "-a", app_id)

    sidecar.wait(30)
    assert app_id not in dapr.call("list").output()
