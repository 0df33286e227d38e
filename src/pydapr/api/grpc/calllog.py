"""API logging (`--enable-api-logging`, `spec.logging.apiLogging`): a line for each call. In the chain only when on.

Put around each method by the router; what tokens and access lists turn away is not logged. Lines always tell the
full name of the method, health checks included: hiding URLs and omitting health checks are for HTTP (v1.18.3,
`pkg/api/grpc/server.go`).
"""

import time
from collections.abc import Callable

from pydapr.errors import Code, RpcError
from pydapr.net.grpc_server import Method
from pydapr.net.http2_server import ServerExchange
from pydapr.observe import logging
from pydapr.wire import headers as names

log = logging.get("dapr.runtime.grpc.api-info")


def logged(method: Method, clock: Callable[[], float] = time.monotonic) -> Method:
    """`method`, and a line at the end of each call; one that the client gave up counts as cancelled."""

    async def handle(exchange: ServerExchange) -> int | None:
        code: int | None = Code.CANCELLED
        began = clock()
        try:
            code = await method(exchange)
        except RpcError as error:
            code = error.code
            raise
        finally:
            _tell(exchange, code or 0, clock() - began)
        return code

    return handle


def _tell(exchange: ServerExchange, code: int, seconds: float) -> None:
    agent = names.first(exchange.headers, b"user-agent")
    fields: dict[str, object] = {"useragent": agent.decode("utf-8", "replace")} if agent else {}
    name = exchange.target.decode("utf-8", "replace")
    log.always("gRPC API Called", method=name, code=int(code), duration=int(seconds * 1000), **fields)
