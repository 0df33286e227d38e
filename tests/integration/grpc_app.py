"""An app that speaks gRPC, and channels to sidecars: grpcio with raw bytes, so that no SDK is needed."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from pydapr.wire import appcalls
from pydapr.wire import invocation as wire

CALLBACK = "/dapr.proto.runtime.v1.AppCallback/"
DAPR = "/dapr.proto.runtime.v1.Dapr/"


class GrpcApp(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """Answers any service by the last part of the method's name; `seen` has the metadata of the last call."""

    def __init__(self, port: int = 0) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.request = b""
        self.was_cancelled = threading.Event()
        self.answer = appcalls.Response()
        self.server = grpc.server(ThreadPoolExecutor(64))
        self.server.add_generic_rpc_handlers((self,))
        self.port = int(self.server.add_insecure_port(f"127.0.0.1:{port}"))
        self.server.start()

    def service(self, details: Any) -> Any:
        self.seen = [(item.key, item.value) for item in details.invocation_metadata]
        kind = details.method.rpartition("/")[2]
        if kind == "Each":
            return grpc.stream_stream_rpc_method_handler(self._each)
        if kind == "Nothing":
            return None
        return grpc.unary_unary_rpc_method_handler(lambda data, call: self._unary(kind, data, call))

    def told(self, name: str) -> list[Any]:
        return [value for key, value in self.seen if key == name]

    def _unary(self, kind: str, data: bytes, call: Any) -> bytes:
        self.request = data
        call.send_initial_metadata((("x-first", "1"),))
        call.set_trailing_metadata((("x-last", "2"),))
        if kind == "OnInvoke":
            if self.answer.code:
                call.abort(list(grpc.StatusCode)[self.answer.code], self.answer.message.decode())
            return self.answer.encode_message()
        if kind == "Fail":
            call.abort(grpc.StatusCode.ABORTED, "not now")
        if kind == "Hang":
            call.add_callback(self.was_cancelled.set)
            self.was_cancelled.wait(20)
        return data

    @staticmethod
    def _each(data: Iterator[bytes], call: Any) -> Iterator[bytes]:
        yield from data

    def close(self) -> None:
        self.was_cancelled.set()
        self.server.stop(0)


def invocation(app_id: str, method: str, data: bytes = b"", verb: bytes = b"POST") -> bytes:
    """An InvokeServiceRequest."""
    message = appcalls.Request(method.encode(), data, b"", b"text/plain", (verb, b"")).encode()
    return wire.field(b"\x0a", app_id.encode()) + wire.field(b"\x1a", message)


def failure(call: Callable[[], object]) -> tuple[str, str]:
    """Code and message of the error that a call ends with."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code().name, error.details()
    raise AssertionError("the call succeeded")
