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

    `source` holds what is left of the messages, `reader` what was cut from it so far; `first` are payload
    bytes that came with the leading message. `at_end` is called when the source has ended and raises
    `BodyError` if that end is no good one.
    """

    __slots__ = ("_at_end", "_expected", "_reader", "_stream")

    def __init__(
        self,
        source: Body,
        reader: grpc.MessageReader,
        first: list[tuple[bytes | None, int]],
        at_end: Callable[[], None],
        length: int | None = None,
    ) -> None:
        super().__init__(length=length)
        self._stream = source
        self._reader = reader
        self._expected = 0
        self._at_end = at_end
        for payload, sequence in first:
            self._add(payload, sequence)

    def _add(self, payload: bytes | None, sequence: int) -> None:
        if payload is None:
            return
        if sequence != self._expected:
            self.fail(BodyError(f"invalid sequence number received: {sequence} (expected: {self._expected})"))
            return
        self._expected += 1
        if payload:
            self.feed(payload)

    def _unpack(self, data: bytes) -> None:
        try:
            for message in self._reader.feed(data):
                leading, payload, sequence = invocation.decode_stream(message)
                if leading:
                    raise BodyError("metadata found in non-leading chunk")
                self._add(payload, sequence)
        except (RpcError, invocation.Invalid) as error:
            raise BodyError(f"error receiving message: {error}") from None

    async def read(self) -> bytes:
        while not self.buffered and not self.ended:
            try:
                data = await self._stream.read()
                if data:
                    self._unpack(data)
                    continue
                self._at_end()
            except BodyError as error:
                self.fail(error)
            else:
                self.end()
        return await super().read()
