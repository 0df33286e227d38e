"""The app as a gRPC server: calls of Dapr's own callbacks, and calls of any service that pass through.

`GrpcChannel` is called by `blocks.invoke`, `GrpcApp.pass_on` by `blocks.proxy`; both go on to `net.http2_pool`.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pydapr.app import rpc
from pydapr.app.channel import Answer, AppChannel, Call, Header
from pydapr.errors import Code, RpcError
from pydapr.net import dial, http2_client, http2_pool, relay
from pydapr.net.body import BodyError, Disconnected
from pydapr.wire import appcalls, grpc, hpack, http2, tracecontext
from pydapr.wire import headers as names

if TYPE_CHECKING:
    import ssl

CALLBACK: Final[bytes] = b"/dapr.proto.runtime.v1.AppCallback/"
ALPHA_CALLBACK: Final[bytes] = b"/dapr.proto.runtime.v1.AppCallbackAlpha/"
HEALTH = b"/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck"

NO_TRAILERS = "server closed the stream without sending trailers"
NO_MESSAGE = "cardinality violation: received no response message from non-server-streaming RPC"

Received = tuple[Sequence[Header], Sequence[Header], list[bytes]]
"""Head, trailers and messages of an answer."""

Turns = asyncio.Semaphore | contextlib.nullcontext[None]
"""What bounds how many calls are under way together."""

_OURS = frozenset({b"dapr-app-id", b"dapr-api-token"})


class GrpcApp:
    """Connections to the app's gRPC server. `token`, if there is one, is sent as `dapr-api-token`."""

    def __init__(self, host: str, port: int, with_tls: bool, token: str, max_message: int) -> None:
        self.node = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._host, self._port = host, port
        self._context: ssl.SSLContext | None = None
        self._with_tls = with_tls
        self.max_message = max_message
        self.token: tuple[Header, ...] = ((b"dapr-api-token", token.encode()),) if token else ()
        self._scheme = b"https" if with_tls else b"http"
        self._blocks: dict[bytes, bytes] = {}
        """How each of Dapr's own callbacks begins, by its path: the same fields, as bytes."""
        self._heads = relay.Heads(self.node, _OURS, self.token, self._scheme)
        self._pool = http2_pool.Pool(self._connect, http2.Limits(), http2_pool.APP)

    async def _connect(self, _: str, factory: dial.Factory) -> object:
        if self._with_tls and self._context is None:
            self._context = _unverified()
        return await dial.to(self._host, self._port, self._with_tls, context=self._context)(factory)

    async def connection(self) -> http2_client.ClientConnection:
        """A connection that takes a call. Raises `RpcError`."""
        ready = self._pool.ready(self.node)
        if ready is not None:
            return ready
        try:
            return await self._pool.connection(self.node)
        except http2_pool.Unreachable as error:
            text = f'connection error: desc = "transport: Error while dialing: {error}"'
            raise RpcError(Code.UNAVAILABLE, text) from None

    async def pass_on(self, call: relay.Relay) -> bool:
        """Passes a call on as it is; False when the app's server took nothing of it. Raises `RpcError`."""
        return await call.run(await self.connection(), self._heads.block(call.exchange))

    async def call(self, path: bytes, metadata: Sequence[Header], message: bytes) -> appcalls.Response:
        """A call with one message each way; an answer that is an error, or none, is told by its code."""
        try:
            return _answer(*await self._send(path, metadata, message))
        except RpcError as error:
            return appcalls.Response(error.code, error.message.encode())
        except BodyError as broken:
            return appcalls.Response(Code.UNAVAILABLE, str(broken).encode())

    async def callback(
        self, name: bytes, message: bytes, metadata: Sequence[Header] = (), service: bytes = CALLBACK
    ) -> bytes:
        """The app's answer to one of Dapr's own callbacks, such as OnBindingEvent. Raises `RpcError`."""
        try:
            _, trailers, messages = await self._send(service + name, (*metadata, *self.token), message)
        except BodyError as broken:
            raise RpcError(Code.UNAVAILABLE, str(broken)) from None
        status = grpc.status_of(trailers)
        if status is None:
            raise RpcError(Code.INTERNAL, NO_TRAILERS)
        if status.code != Code.OK:
            raise status.error()
        if len(messages) != 1:
            raise RpcError(Code.INTERNAL, NO_MESSAGE)
        return messages[0]

    async def _send(self, path: bytes, metadata: Sequence[Header], message: bytes) -> Received:
        block = self._blocks.get(path)
        if block is None:
            block = self._blocks[path] = hpack.encode(
                (
                    (b":method", b"POST"),
                    (b":scheme", self._scheme),
                    (b":path", path),
                    (b":authority", self.node.encode()),
                    (b"content-type", b"application/grpc"),
                    (b"user-agent", b"pydapr"),
                    (b"te", b"trailers"),
                )
            )
        if metadata:
            block += hpack.encode(metadata)
        try:
            return await self._exchange(block, message)
        except http2_client.Refused:
            return await self._exchange(block, message)

    async def _exchange(self, block: bytes, message: bytes) -> Received:
        request = (await self.connection()).open(block, grpc.frame(message), True)
        try:
            head = await request.head()
            fields = dict(head)
            status = int(fields.get(b":status", b"0"))
            if status != 200:
                text = f"unexpected HTTP status code received from server: {status}"
                raise RpcError(grpc.code_of_http(status), text)
            reader = grpc.MessageReader(self.max_message, fields.get(b"grpc-encoding", b"identity"))
            messages: list[bytes] = []
            while data := await request.body.read():
                messages += reader.feed(data)
                if len(messages) > 1:
                    raise RpcError(Code.INTERNAL, "cardinality violation: expected one message, received more")
            return head, request.trailers, messages
        except Disconnected as error:
            if isinstance(error, http2_client.Refused) or request.reset_code is None:
                raise
            code = Code.UNAVAILABLE if request.connection.h2.is_draining else grpc.code_of_reset(request.reset_code)
            raise RpcError(code, str(error)) from None
        finally:
            request.close()

    def close(self) -> None:
        """Breaks off what is under way."""
        self._pool.close()


def _answer(head: Sequence[Header], trailers: Sequence[Header], messages: list[bytes]) -> appcalls.Response:
    status = grpc.status_of(trailers)
    if status is None:
        raise RpcError(Code.INTERNAL, NO_TRAILERS)
    out = appcalls.Response(status.code, status.message.encode())
    try:
        if status.details:
            out.read_status(status.details)
        if status.code == Code.OK:
            if len(messages) != 1:
                raise RpcError(Code.INTERNAL, NO_MESSAGE)
            out.decode_message(messages[0])
    except appcalls.Invalid as error:
        raise RpcError(Code.INTERNAL, f"grpc: failed to unmarshal the received message: {error}") from None
    if head is not trailers:
        out.metadata = rpc.padded([header for header in head if header[0][:1] != b":"])
    out.trailers = rpc.padded(
        [header for header in trailers if header[0][:1] != b":" and not header[0].startswith(b"grpc-")]
    )
    return out


class GrpcChannel(AppChannel):
    """Invokes the app by AppCallback.OnInvoke. No more than `at_a_time` calls are under way together, 0 for any."""

    takes_rpc = True

    def __init__(self, app: GrpcApp, at_a_time: int = 0) -> None:
        self._app = app
        self.turns: Turns = asyncio.Semaphore(at_a_time) if at_a_time > 0 else contextlib.nullcontext()
        """What bounds the calls under way: deliveries of messages take their turns here, too."""

    async def invoke(self, call: Call) -> Answer:
        data = await call.body.read_all()
        if isinstance(call, rpc.RpcCall):
            request = appcalls.Request(
                call.method.encode("utf-8", "surrogateescape"),
                data,
                call.request.type_url,
                call.request.content_type,
                call.request.extension,
            )
            given = call.metadata
            metadata = rpc.for_app(given, from_http=False)
        else:
            fields = dict(call.headers)
            kind = fields.get(b"content-type", b"")
            request = appcalls.Request(
                call.method.encode("utf-8", "surrogateescape"), data, b"", kind, (call.verb, call.query)
            )
            given = call.headers
            metadata = rpc.for_app(given, from_http=True)
        if call.trace is not None or any(name in names.VOLATILE for name, _ in given):
            metadata = [header for header in metadata if header[0] not in names.VOLATILE]
            metadata += tracecontext.for_rpc_app(given, call.trace)
        token = self._app.token
        if token:
            metadata = [header for header in metadata if header[0] != b"dapr-api-token"]
        async with self.turns:
            return rpc.RpcAnswer(await self._app.call(CALLBACK + b"OnInvoke", (*metadata, *token), request.encode()))

    async def probe(self, path: str) -> str:
        answer = await self._app.call(HEALTH, (), b"")
        if answer.code == Code.OK:
            return ""
        return f"Health check failed: {RpcError(answer.code, answer.message.decode('utf-8', 'replace'))}"

    def close(self) -> None:
        self._app.close()

    def retire(self) -> None:
        self._app.close()


def _unverified() -> "ssl.SSLContext":
    """An app beside its sidecar has a certificate that nobody signed, as with the original."""
    import ssl  # here and not above: it costs 10 ms of start-up

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context
