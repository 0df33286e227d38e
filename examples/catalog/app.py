"""A catalog of goods: plain HTTP, standard library only. It knows nothing of Dapr.

    dapr run --app-id catalog --app-port 6001 -- python3 examples/catalog/app.py

GET /items/<name> answers with an item or with 404, POST /reserve takes some of it off the stock.
"""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PRICES = {"coffee": 4.20, "tea": 3.10, "cake": 5.50}
STOCK = dict.fromkeys(PRICES, 1_000_000)
LOCK = threading.Lock()


class Catalog(BaseHTTPRequestHandler):
    """One connection of a client, here of the sidecar."""

    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024  # head and body of an answer leave together

    def do_GET(self) -> None:
        name = self.path.removeprefix("/items/")
        if name in PRICES:
            self.answer(200, {"item": name, "price": PRICES[name], "stock": STOCK[name]})
        else:
            self.answer(404, {"error": f"no item {name!r} in the catalog"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/reserve":
            self.answer(404, {"error": "no such method"})
            return
        wanted = json.loads(body)
        name, count = wanted["item"], wanted["count"]
        with LOCK:
            if STOCK.get(name, 0) < count:
                self.answer(409, {"error": f"not enough {name}"})
                return
            STOCK[name] -= count
        self.answer(201, {"reserved": count, "item": name, "for": self.headers.get("X-Customer", "")})

    def answer(self, status: int, content: dict[str, object]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Catalog", "v1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the order app tells the story."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), Catalog)
    print(f"catalog listens on port {server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
