"""An app for trials that kill it: it writes down what it was given before it answers, and now and then takes nothing.

`python loss_app.py PORT FILE BROKER`: the lines of FILE are `route key number`, those of `risky` that are poison are
refused for good, and so they must come to `dead`.
"""

import http.server
import json
import os
import random
import sys

POISON_DROPPED, POISON_FAILED, EVERY = 25, 0, 50
"""Of `EVERY` risky messages the one of this number is dropped, or answered with an error."""


def serve(port: int, path: str, broker: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    orders = {"pubsubname": broker, "topic": "orders", "route": "/orders"}
    risky = {"pubsubname": broker, "topic": "risky", "route": "/risky", "deadLetterTopic": "dead"}
    subscriptions = [orders, risky, {"pubsubname": broker, "topic": "dead", "route": "/dead"}]

    class Answers(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # an answer goes in two writes; the second would wait 40 ms for the first

        def do_GET(self) -> None:
            self._answer(200, subscriptions if self.path == "/dapr/subscribe" else {})

        def do_POST(self) -> None:
            data = json.loads(self.rfile.read(int(self.headers["content-length"])))["data"]
            route, number = self.path[1:], data["number"]
            if route == "risky" and number % EVERY == POISON_FAILED:
                return self._answer(500, {})
            if route == "risky" and number % EVERY == POISON_DROPPED:
                return self._answer(200, {"status": "DROP"})
            if route == "orders" and random.random() < 0.02:
                return self._answer(500, {})
            os.write(file, f"{route} {data['key']} {number}\n".encode())
            return self._answer(200, {"status": "SUCCESS"})

        def _answer(self, status: int, document: object) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    _Server(("127.0.0.1", port), Answers).serve_forever()


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """The other side was killed, as it is meant to be."""


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2], sys.argv[3])
