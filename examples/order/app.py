"""Places orders: calls the app `catalog` by its name, through the sidecar beside itself. Standard library only.

    dapr run --app-id order -- python3 examples/order/app.py

It prints what came back, then measures some calls and ends. With `--keep` it places an order every few
seconds until it is stopped.
"""

import http.client
import json
import os
import sys
import time

CATALOG = "/v1.0/invoke/catalog/method/"
STATE = "/v1.0/state/statestore"
CALLS = 200
PAUSE = 5.0


class Sidecar:
    """The sidecar beside this app. `dapr run` has told us its port."""

    def __init__(self) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["DAPR_HTTP_PORT"]))

    def call(
        self, verb: str, method: str, content: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        """Calls a method of the catalog: status, body and header fields of its answer."""
        return self.ask(verb, CATALOG + method, content, headers)

    def ask(
        self, verb: str, path: str, content: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        """Asks the sidecar itself."""
        body = None if content is None else json.dumps(content).encode()
        fields = {"Content-Type": "application/json"} if body else {}
        self.connection.request(verb, path, body, {**fields, **(headers or {})})
        answer = self.connection.getresponse()
        return answer.status, answer.read(), answer.headers


def say(text: str) -> None:
    print(text, flush=True)


def expect(what: str, got: tuple[int, bytes, http.client.HTTPMessage], status: int, part: bytes) -> None:
    """Prints an answer; ends with an error if it is not the one that the catalog gives."""
    say(f"{what:34} -> {got[0]} {got[1].decode()}")
    if got[0] != status or part not in got[1] or got[2]["X-Catalog"] != "v1":
        sys.exit(f"expected {status} with {part!r} from the catalog")


def place_order(sidecar: Sidecar) -> None:
    expect("GET items/coffee", sidecar.call("GET", "items/coffee"), 200, b'"price": 4.2')
    wanted = {"item": "coffee", "count": 2}
    got = sidecar.call("POST", "reserve", wanted, {"X-Customer": "Ada"})
    expect(f"POST reserve {json.dumps(wanted)}", got, 201, b'"for": "Ada"')


def keep_order(sidecar: Sidecar) -> None:
    """Saves the order in the state store that `dapr run` gives an app without any configuration."""
    order = {"item": "coffee", "count": 2}
    saved, _, _ = sidecar.ask("POST", STATE, [{"key": "order-1", "value": order}])
    status, kept, _ = sidecar.ask("GET", STATE + "/order-1")
    say(f"{'order-1 in the state store':34} -> {status} {kept.decode()}")
    if saved != 204 or status != 200 or json.loads(kept) != order:
        sys.exit("expected the order that was saved")


def show_error(sidecar: Sidecar) -> None:
    """The catalog's own 404, status, header fields and body: the sidecars pass it on as it is."""
    expect("GET items/unicorn", sidecar.call("GET", "items/unicorn"), 404, b"no item 'unicorn' in the catalog")


def measure(sidecar: Sidecar) -> None:
    seconds = []
    for _ in range(CALLS):
        began = time.perf_counter()
        sidecar.call("GET", "items/tea")
        seconds.append(time.perf_counter() - began)
    seconds.sort()
    p50, p99 = (1000 * seconds[int(len(seconds) * part)] for part in (0.50, 0.99))
    say(f"{CALLS} calls, one after the other: p50 {p50:.2f} ms, p99 {p99:.2f} ms")


def main() -> None:
    sidecar = Sidecar()
    place_order(sidecar)
    keep_order(sidecar)
    show_error(sidecar)
    measure(sidecar)
    while "--keep" in sys.argv[1:]:
        time.sleep(PAUSE)
        place_order(sidecar)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
