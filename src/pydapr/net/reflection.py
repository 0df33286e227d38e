"""Server reflection (grpc.reflection.v1 and v1alpha, whose messages are the same): what services there are.

Used by `api.grpc` and `api.pluggable`. The few messages are written and read by hand; descriptors are those of the
modules that are loaded, which whoever declares a service sees to.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pydapr.errors import Code, RpcError
from pydapr.net import grpc_server
from pydapr.net.http2_server import ServerExchange
from pydapr.wire import grpc
from pydapr.wire.invocation import Invalid, field, fields, varint

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor
    from google.protobuf.descriptor_pool import DescriptorPool

OWN = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
"""The services that this is."""

MAX_REQUEST = 64 * 1024

_BY_NAME, _BY_SYMBOL, _BY_EXTENSION, _EXTENSIONS, _LIST = 3, 4, 5, 6, 7


class Reflection:
    """What tells of `services`, full names."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = services

    async def serve(self, exchange: ServerExchange) -> None:
        """Answers one stream of questions, each as it comes."""
        reader = grpc.MessageReader(MAX_REQUEST)
        sent: set[str] = set()
        exchange.begin_block(grpc_server.HEAD_BLOCK)
        while data := await exchange.body.read():
            for request in reader.feed(data):
                try:
                    answer = self._answer(request, sent)
                except Invalid as error:
                    raise RpcError(Code.INTERNAL, f"grpc: error unmarshalling request: {error}") from None
                await exchange.write(grpc.frame(answer))
        exchange.finish(grpc.OK_TRAILERS)

    def _answer(self, request: bytes, sent: set[str]) -> bytes:
        host, kind, asked = b"", 0, b""
        for number, value in fields(request):
            if isinstance(value, bytes):
                if number == 1:
                    host = value
                elif _BY_NAME <= number <= _LIST:
                    kind, asked = number, value
        out = (field(b"\x0a", host) if host else b"") + field(b"\x12", request)
        if kind == _LIST:
            listed = [field(b"\x0a", field(b"\x0a", name.encode())) for name in self._services]
            return out + field(b"\x32", b"".join(listed))
        if kind in (_BY_NAME, _BY_SYMBOL):
            return out + _files(kind, asked.decode("utf-8", "replace"), sent)
        if kind in (_BY_EXTENSION, _EXTENSIONS):
            return out + _error(Code.NOT_FOUND, "there are no extensions")
        raise RpcError(Code.INVALID_ARGUMENT, "invalid MessageRequest: no question in it")


def _files(kind: int, asked: str, sent: set[str]) -> bytes:
    """The file that was asked for and those it needs, as far as the stream has not had them yet."""
    from google.protobuf import descriptor_pool

    pool = descriptor_pool.Default()
    try:
        found = pool.FindFileByName(asked) if kind == _BY_NAME else _file_of(pool, asked)
    except KeyError:
        return _error(Code.NOT_FOUND, f"{asked} is not known")
    listed = [found.serialized_pb, *_needed(found, sent)]
    sent.add(found.name)
    return field(b"\x22", b"".join(field(b"\x0a", file) for file in listed))


def _file_of(pool: "DescriptorPool", symbol: str) -> "FileDescriptor":
    """The file that declares `symbol`. Raises `KeyError`."""
    try:
        return pool.FindFileContainingSymbol(symbol)
    except KeyError:
        # The pool does not look for methods there, and clients do ask for them.
        return pool.FindMethodByName(symbol).containing_service.file


def _needed(file: "FileDescriptor", sent: set[str]) -> Iterable[bytes]:
    for other in file.dependencies:
        if other.name not in sent:
            sent.add(other.name)
            yield other.serialized_pb
            yield from _needed(other, sent)


def _error(code: Code, message: str) -> bytes:
    return field(b"\x3a", b"\x08" + varint(code) + field(b"\x12", message.encode()))
