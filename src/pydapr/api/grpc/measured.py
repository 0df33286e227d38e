"""Counts and times calls of the gRPC API, and calls that pass through. In the table of methods while metrics are on.

Made by `daprd.faces` and `daprd.runtime`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TypeVar

from pydapr.errors import Code, DaprError, RpcError
from pydapr.net import grpc_server
from pydapr.net.http2_server import ServerExchange
from pydapr.observe.metrics_grpc import GrpcMetrics, Method
from pydapr.observe.metrics_service import ErrorMetrics

T = TypeVar("T", bound=bytes | int)


def answer(
    inner: Callable[[ServerExchange, bytes], Awaitable[T]], method: Method, errors: ErrorMetrics | None
) -> Callable[[ServerExchange, bytes], Awaitable[T]]:
    """`inner`, whose calls are counted and timed; `errors` counts what it raises."""

    async def measured(exchange: ServerExchange, data: bytes) -> T:
        method.took(len(data))
        code: int = Code.UNKNOWN
        began = perf_counter()
        try:
            told = await inner(exchange, data)
            code = told if isinstance(told, int) else Code.OK
        except DaprError as error:
            worded = error.for_grpc()
            code = worded.grpc
            if errors is not None:
                errors.answered(worded)
            raise
        except RpcError as failure:
            code = failure.code
            raise
        except asyncio.CancelledError:
            code = Code.DEADLINE_EXCEEDED if b"grpc-timeout" in exchange.fields else Code.CANCELLED
            raise
        finally:
            method.ended(code, perf_counter() - began)
            if code != Code.OK:
                method.gave(0)
        if not isinstance(told, int):
            method.gave(len(told))
        return told

    return measured


def passing(inner: grpc_server.Method, metrics: GrpcMetrics, is_server: bool) -> grpc_server.Method:
    """`inner`, which passes calls on: counted are those that the own app makes, which name an app by `dapr-app-id`."""

    async def measured(exchange: ServerExchange) -> int | None:
        if b"dapr-app-id" not in exchange.fields:
            return await inner(exchange)
        code: int = Code.CANCELLED
        began = perf_counter()
        try:
            told = await inner(exchange)
            code = told or Code.OK
        except RpcError as error:
            code = error.code
            raise
        finally:
            metrics.passing(is_server, exchange.target).ended(code, perf_counter() - began)
        return told

    return measured
