"""Channels to an app that count and time what passes. In place of the plain ones while metrics are on.

Made by `daprd.runtime`, called by `blocks.invoke` and `app.health` like any channel.
"""

from collections.abc import Awaitable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from pydapr.app import grpc, http
from pydapr.app.channel import Answer, AppChannel, AppUnreachable, Call, Header
from pydapr.errors import RpcError
from pydapr.lib import truth
from pydapr.net import relay
from pydapr.wire import appcalls
from pydapr.wire import headers as names

if TYPE_CHECKING:
    from pydapr.observe.metrics_grpc import GrpcMetrics
    from pydapr.observe.metrics_http import HttpMetrics
    from pydapr.observe.metrics_service import ServiceMetrics


class MeasuredChannel(AppChannel):
    """`inner`, an HTTP server's channel, and the middleware before it."""

    def __init__(self, inner: AppChannel, metrics: "HttpMetrics") -> None:
        self._inner = inner
        self._called = metrics.called

    async def invoke(self, call: Call) -> Answer:
        sent = call.body.length or 0
        began = perf_counter()
        try:
            answer = await self._inner.invoke(call)
        except AppUnreachable:
            self._called(call.verb, call.method, http.NO_ANSWER, sent, 0, perf_counter() - began)
            raise
        body = answer.body
        size = body.length
        self._called(
            call.verb, call.method, answer.status, sent, body.buffered if size is None else size,
            perf_counter() - began,
        )  # fmt: skip
        return answer

    def close(self) -> None:
        self._inner.close()

    def retire(self) -> None:
        self._inner.retire()


class MeasuredServer(MeasuredChannel):
    """A server outside of Dapr, which counts as an app called `name` too."""

    def __init__(self, inner: AppChannel, metrics: "HttpMetrics", services: "ServiceMetrics", name: str) -> None:
        super().__init__(inner, metrics)
        self._services, self._name = services, name

    async def invoke(self, call: Call) -> Answer:
        called = self._services.app(self._name)
        called.sent.value += 1
        began = perf_counter()
        answer = await super().invoke(call)
        called.answered(answer.status, perf_counter() - began)
        return answer


class MeasuredProbes(AppChannel):
    """A channel for nothing but probes of an HTTP app's health."""

    def __init__(self, inner: AppChannel, metrics: "HttpMetrics") -> None:
        self._inner, self._metrics = inner, metrics

    async def invoke(self, call: Call) -> Answer:
        status = http.NO_ANSWER
        began = perf_counter()
        try:
            answer = await self._inner.invoke(call)
            status = answer.status
        finally:
            self._metrics.probed(str(status), perf_counter() - began)
        return answer

    def close(self) -> None:
        self._inner.close()

    def retire(self) -> None:
        self._inner.retire()


async def passing(services: "ServiceMetrics", call: relay.Relay, work: Awaitable[bool]) -> bool:
    """What `work` says, which passes a call on. Counted is a call of the own app, which names its target.

    How a stream ends is not counted, only that it could not begin (v1.18.3, `pkg/api/grpc/proxy/handler.go`).
    """
    named = call.exchange.fields.get(b"dapr-app-id")
    if named is None:
        return await work
    target = named.decode("utf-8", "replace")
    is_stream = truth.is_true(names.first(call.exchange.headers, b"dapr-stream") or b"")
    called = services.app(target)
    if is_stream:
        services.stream_sent(target)
    else:
        called.sent.value += 1
    began = perf_counter()
    try:
        was_taken = await work
    except RpcError as error:
        if not is_stream:
            called.answered(error.code, perf_counter() - began)
        elif not call.exchange.is_begun:
            services.stream_failed(target, error.code)
        raise
    if was_taken and not is_stream:
        called.answered(call.code, perf_counter() - began)
    return was_taken


class MeasuredGrpcApp(grpc.GrpcApp):
    """An app's gRPC server. Its answers are encoded once more for their size, which nobody else needs."""

    metrics: "GrpcMetrics"
    services: "ServiceMetrics"

    async def pass_on(self, call: relay.Relay) -> bool:
        return await passing(self.services, call, super().pass_on(call))

    async def call(self, path: bytes, metadata: Sequence[Header], message: bytes) -> appcalls.Response:
        began = perf_counter()
        response = await super().call(path, metadata, message)
        seconds = perf_counter() - began
        if path == grpc.HEALTH:
            self.metrics.probed(response.code, seconds)
            return response
        method = self.metrics.passing(False, path)
        method.ended(response.code, seconds)
        method.gave(len(message))
        method.took(0 if response.code else len(response.encode_message()))
        return response

    async def callback(
        self, name: bytes, message: bytes, metadata: Sequence[Header] = (), service: bytes = grpc.CALLBACK
    ) -> bytes:
        work = super().callback(name, message, metadata, service)
        return await self.metrics.asked(service + name, message, work)
