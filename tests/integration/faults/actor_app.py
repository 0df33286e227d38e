"""An app for trials that kill it: it hosts counters and takes jobs, and writes down when each turn began and ended.

`python actor_app.py PORT SIDECAR_PORT FILE NAME`: the lines of FILE are `enter ACTOR TURN NAME TIME`, `leave …`,
`remind ACTOR NAME TIME` and `job NAME TIME`, with times of the clock that all processes of the machine share.
"""

import http.client
import http.server
import json
import os
import sys
import time
import uuid

TYPE = "counter"
TURN_SECONDS = 0.003
"""How long a turn stays between reading and writing, so that two at a time would be seen."""

ASK_SECONDS = 2.0
CONFIG = {"entities": [TYPE], "drainOngoingCallTimeout": "5s", "drainRebalancedActors": True}
"""A turn asks its sidecar twice, and so is over before its actor is taken away regardless."""


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 64
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """The other side was killed, as it is meant to be."""


def serve(port: int, sidecar: int, path: str, name: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(*words: object) -> None:
        os.write(file, (" ".join(map(str, words)) + "\n").encode())

    def ask(verb: str, target: str, body: bytes | None = None) -> bytes:
        """Asks the own sidecar. Raises `OSError`."""
        connection = http.client.HTTPConnection("127.0.0.1", sidecar, timeout=ASK_SECONDS)
        try:
            connection.request(verb, target, body, {"content-type": "application/json"})
            reply = connection.getresponse()
            text = reply.read()
        except http.client.HTTPException as broken:
            raise OSError(str(broken)) from broken
        finally:
            connection.close()
        if reply.status not in (200, 204):
            raise OSError(f"{reply.status} {text.decode(errors='replace')}")
        return text

    def increment(actor: str) -> int:
        state = f"/v1.0/actors/{TYPE}/{actor}/state"
        value = int(ask("GET", f"{state}/value") or b"0") + 1
        time.sleep(TURN_SECONDS)
        operation = {"operation": "upsert", "request": {"key": "value", "value": value}}
        ask("POST", state, json.dumps([operation]).encode())
        return value

    class Answers(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # an answer goes in two writes; the second would wait 40 ms for the first

        def do_GET(self) -> None:
            self._answer(200, CONFIG if self.path == "/dapr/config" else {})

        def do_DELETE(self) -> None:
            self._answer(200, {})

        def do_POST(self) -> None:
            self._take_body()
            note("job", self.path.rpartition("/")[2], time.time())
            self._answer(200, {})

        def do_PUT(self) -> None:
            self._take_body()
            _, _, _, actor, *rest = self.path.split("/")  # /actors/counter/<id>/method/<name>
            turn = uuid.uuid4().hex
            note("enter", actor, turn, name, time.monotonic())
            try:
                if rest[1] == "remind":
                    note("remind", actor, rest[2], time.time())
                    result = 0
                else:
                    result = increment(actor) if rest[1] == "increment" else 0
            except OSError as failed:
                note("leave", actor, turn, name, time.monotonic())
                return self._answer(500, {"error": str(failed)})
            note("leave", actor, turn, name, time.monotonic())
            return self._answer(200, result)

        def _take_body(self) -> None:
            self.rfile.read(int(self.headers["content-length"] or 0))

        def _answer(self, status: int, document: object) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    Server(("127.0.0.1", port), Answers).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
