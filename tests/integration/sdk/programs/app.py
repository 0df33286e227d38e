"""An app written with the official SDK (`dapr.ext.grpc`), and beside its methods a gRPC service of its own.

usage: app.py PORT
"""

import sys
from collections.abc import Iterator
from typing import Any

import grpc
from dapr.ext.grpc import App, InvokeMethodRequest, InvokeMethodResponse

app: Any = App()  # The SDK's decorators have no types.


@app.method(name="echo")  # type: ignore[untyped-decorator]
def echo(request: InvokeMethodRequest) -> InvokeMethodResponse:
    mine = [value for key, value in request.metadata.items() if key == "mine"]
    return InvokeMethodResponse(
        request.data,
        request.content_type,
        headers=(("mine", str(mine)),),
    )


@app.method(name="refuse")  # type: ignore[untyped-decorator]
def refuse(request: InvokeMethodRequest) -> InvokeMethodResponse:
    raise ValueError("not this one")


def _said(request: bytes, context: grpc.ServicerContext) -> bytes:
    if request == b"refuse":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now")
    told = dict(context.invocation_metadata())
    context.send_initial_metadata((("told", str(told.get("mine"))),))
    return b"said " + request


def _repeated(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    for request in requests:
        yield request
        yield request


def _add(_: object, server: Any) -> None:
    methods = {
        "Say": grpc.unary_unary_rpc_method_handler(_said),
        "Repeat": grpc.stream_stream_rpc_method_handler(_repeated),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", methods),))


app.add_external_service(_add, None)
app.register_health_check(lambda: None)

if __name__ == "__main__":
    app.run(int(sys.argv[1]), "127.0.0.1")
