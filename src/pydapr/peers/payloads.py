"""The body of a call between sidecars, unpacked from gRPC messages as they arrive.

Used on both sides: by `peers.sidecar` for answers, by `api.internal` for requests. Whoever reads the body
pulls the messages; nothing runs beside it.
"""

from collections.abc import Callable

from pydapr.errors import RpcError
from pydapr.net.body import Body, BodyError
from pydapr.wire import grpc, invocation


class Payloads(Body):
    """A body whose bytes are the payloads of stream messages.

    `source` holds what is left of the messages, `reader` what was cut from it so far; `first` is the payload that
    came with the leading message, and its number, `later` messages that came with it. `at_end` is called when the
    source has ended and raises `RpcError` if that end is no good one. `length` is what the sender promised, and
    all that is let through.
    """

    __slots__ = ("_at_end", "_expected", "_left", "_reader", "_stream")

    def __init__(
        self,
        source: Body,
        reader: grpc.MessageReader,
        first: tuple[bytes | None, int],
        later: list[bytes],
        at_end: Callable[[], None],
        length: int | None = None,
    ) -> None:
        super().__init__(length=length)
        self._stream = source
        self._reader = reader
        self._expected = 0
        self._at_end = at_end
        self._left = length
        self._add(*first)
        try:
            self._take_apart(later)
        except BodyError as error:
            self.fail(error)

    def _add(self, payload: bytes | None, sequence: int) -> None:
        if payload is None:
            return
        if sequence != self._expected:
            self.fail(BodyError(f"invalid sequence number received: {sequence} (expected: {self._expected})"))
            return
        self._expected += 1
        if self._left is not None:
            self._left -= len(payload)
            if self._left < 0:
                self.fail(BodyError(f"body larger than its Content-Length of {self.length}"))
                return
        if payload:
            self.feed(payload)

    def _unpack(self, data: bytes) -> None:
        try:
            messages = self._reader.feed(data)
        except RpcError as error:
            raise BodyError(f"error receiving message: {error}") from None
        self._take_apart(messages)

    def _take_apart(self, messages: list[bytes]) -> None:
        try:
            for message in messages:
                leading, payload, sequence = invocation.decode_stream(message)
                if leading:
                    raise BodyError("metadata found in non-leading chunk")
                self._add(payload, sequence)
        except invocation.Invalid as error:
            raise BodyError(f"error receiving message: {error}") from None

    async def read(self) -> bytes:
        while not self.buffered and not self.ended:
            try:
                data = b"" if self._reader.is_behind else await self._stream.read()
                if data or self._reader.is_behind:
                    self._unpack(data)
                    continue
                if self._reader.incomplete:
                    raise BodyError("error receiving message: unexpected EOF")
                self._at_end()
                if self._left:
                    raise BodyError(f"body shorter than its Content-Length of {self.length}")
            except RpcError as error:
                self.fail(BodyError(str(error)))
            except BodyError as broken:
                self.fail(broken)
            else:
                self.end()
        return await super().read()
