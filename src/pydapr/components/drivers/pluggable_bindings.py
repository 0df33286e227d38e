"""Pluggable bindings, in and out. Found by `components.drivers.pluggable`."""

from collections.abc import Sequence

from pydapr.components.bindings import (
    Answer,
    BindingError,
    Event,
    Handler,
    InputBinding,
    NotProcessed,
    OutputBinding,
    Reading,
    Request,
)
from pydapr.components.drivers import pluggable, pluggable_pull
from pydapr.errors import RpcError

INPUT, OUTPUT = "InputBinding", "OutputBinding"

AT_ONCE = 100
"""Events that the app has at a time."""


def make(link: pluggable.Link, given: pluggable.Options, services: Sequence[str]) -> "_Common":
    """The binding for what a process offers, and the resource wants by its `direction`."""
    direction = next((value for name, value in given.properties.items() if name.lower() == "direction"), "").lower()
    wanted = [one for one in services if not direction or one.removesuffix("Binding").lower() in direction]
    if wanted == [INPUT]:
        return _Input(link, given)
    return _Both(link, given) if wanted == [INPUT, OUTPUT] else _Output(link, given)


class _Common(pluggable.Plugged):
    """What both have in common."""

    services: Sequence[str]

    def __init__(self, link: pluggable.Link, given: pluggable.Options) -> None:
        self._link, self._properties = link, dict(given.properties)
        self.operations: Sequence[str] = ()

    async def _begin(self) -> None:
        from pydapr.proto.dapr.proto.components.v1 import bindings_pb2, common_pb2

        about = common_pb2.MetadataRequest(properties=self._properties)
        if INPUT in self.services:
            wanted = bindings_pb2.InputBindingInitRequest(metadata=about)
            await self._link.bare(INPUT, "Init", wanted, bindings_pb2.InputBindingInitResponse)
        if OUTPUT in self.services:
            asked = bindings_pb2.OutputBindingInitRequest(metadata=about)
            await self._link.bare(OUTPUT, "Init", asked, bindings_pb2.OutputBindingInitResponse)
            listing = bindings_pb2.ListOperationsRequest()
            listed = await self._link.bare(OUTPUT, "ListOperations", listing, bindings_pb2.ListOperationsResponse)
            self.operations = tuple(listed.operations)


class _Output(_Common, OutputBinding):
    """An output binding in a process of its own."""

    services: Sequence[str] = (OUTPUT,)

    async def invoke(self, request: Request) -> Answer | None:
        from pydapr.proto.dapr.proto.components.v1 import bindings_pb2

        wanted = bindings_pb2.InvokeRequest(data=request.data, metadata=request.metadata, operation=request.operation)
        try:
            answer = await self._link.call(OUTPUT, "Invoke", wanted, bindings_pb2.InvokeResponse)
        except RpcError as error:
            raise BindingError(str(error)) from None
        return Answer(answer.data, dict(answer.metadata), answer.content_type)


class _Input(_Common, InputBinding):
    """An input binding in a process of its own."""

    services: Sequence[str] = (INPUT,)

    async def read(self, handler: Handler) -> Reading:
        reading = _Reading(self._link, handler)
        try:
            await reading.begin()
        except RpcError as error:
            raise BindingError(f"unable to read from binding: {error}") from None
        return reading


class _Both(_Input, _Output):
    """A process with both."""

    services: Sequence[str] = (INPUT, OUTPUT)


async def _refuse(data: bytes) -> bytes:
    from pydapr.proto.dapr.proto.components.v1 import bindings_pb2

    got = bindings_pb2.ReadResponse.FromString(data)
    error = bindings_pb2.AckResponseError(message="input binding is closed")
    return bindings_pb2.ReadRequest(message_id=got.message_id, response_error=error).SerializeToString()


class _Reading(Reading):
    """Events on their way to a handler."""

    def __init__(self, link: pluggable.Link, handler: Handler) -> None:
        self._handler = handler
        what = f"pluggable binding {link.name}"
        self._pull = pluggable_pull.Pull(link, (INPUT, "Read"), None, self._deliver, AT_ONCE, what, _refuse)

    async def begin(self) -> None:
        await self._pull.begin()

    async def close(self) -> None:
        await self._pull.close()

    async def _deliver(self, data: bytes) -> bytes:
        from pydapr.proto.dapr.proto.components.v1 import bindings_pb2

        got = bindings_pb2.ReadResponse.FromString(data)
        answer = bindings_pb2.ReadRequest(message_id=got.message_id)
        try:
            answer.response_data = await self._handler(Event(got.data, dict(got.metadata), got.content_type))
        except NotProcessed as reason:
            answer.response_error.message = str(reason)
        return answer.SerializeToString()
