"""An app that is a process of its own, to be killed: `python -m tests.integration.faults.app_process http 6001`."""

import sys
import threading

from tests.integration.grpc_app import GrpcApp
from tests.integration.http_wire import App, echo


def main() -> None:
    kind, port = sys.argv[1:]
    app = GrpcApp(int(port)) if kind == "grpc" else App(echo, int(port))
    threading.Event().wait()
    app.close()


if __name__ == "__main__":
    main()
