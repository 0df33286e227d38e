"""Counters that are actors: plain HTTP, standard library only. A reminder counts on when nobody asks.

    dapr run --app-id counter --app-port 6002 --dapr-http-port 3500 -- python3 examples/counter/app.py

Dapr asks at the start which types of actors live here, and then calls `/actors/Counter/<id>/method/<method>`, for one
counter never twice at a time: so there are no locks. What a counter has counted is in Dapr's state store; it is still
there when this app is started again, here or on another machine.
"""

import json
import os
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DAPR = f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}/v1.0/actors/Counter"


def dapr(verb: str, path: str, content: object = None) -> bytes:
    """Asks the sidecar."""
    body = json.dumps(content).encode() if content is not None else None
    request = urllib.request.Request(f"{DAPR}/{path}", body, {"Content-Type": "application/json"}, method=verb)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())


def count(counter: str, by: int = 1) -> int:
    """One more than the state store says; nothing is kept here."""
    value = int(dapr("GET", f"{counter}/state/value") or 0) + by
    dapr("POST", f"{counter}/state", [{"operation": "upsert", "request": {"key": "value", "value": value}}])
    print(f"{counter} is {value}", flush=True)
    return value


def start(counter: str) -> None:
    """Has the counter count by itself: at once, and then every two seconds, three times in all."""
    dapr("POST", f"{counter}/reminders/tick", {"dueTime": "0s", "period": "R3/PT2S", "data": {"by": 10}})


class Counters(BaseHTTPRequestHandler):
    """One connection of the sidecar."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/dapr/config":
            self.answer(200, {"entities": ["Counter"], "actorIdleTimeout": "10m"})
        else:
            self.answer(200 if self.path == "/healthz" else 404)

    def do_PUT(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null")
        match self.path.split("/")[3:]:  # after /actors/Counter
            case [counter, "method", "increment"]:
                self.answer(200, count(counter))
            case [counter, "method", "start"]:
                start(counter)
                self.answer(200)
            case [counter, "method", "remind", "tick"]:
                count(counter, content["data"]["by"])
                self.answer(200)
            case _:
                self.answer(404)

    def do_DELETE(self) -> None:
        """A counter has not been asked for long, or goes elsewhere."""
        self.answer(200)

    def answer(self, status: int, content: object = None) -> None:
        body = json.dumps(content).encode() if content is not None else b""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the counters tell what they do."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), Counters)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
