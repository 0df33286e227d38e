"""Bindings of ours behind a socket, in, out or both. See `serving`."""

from pydapr.api.pluggable.serving import MAX_MESSAGE, Answers, Gone, Services, decode, reading
from pydapr.components.bindings import BindingError, Event, InputBinding, NotProcessed, OutputBinding, Request
from pydapr.errors import Code, RpcError
from pydapr.net.grpc_stream import Stream
from pydapr.net.http2_server import ServerExchange
from pydapr.proto.dapr.proto.components.v1 import bindings_pb2 as messages

INPUT, OUTPUT = "InputBinding", "OutputBinding"


def add_output(services: Services) -> None:
    """The methods of what an app can call."""

    def binding(exchange: ServerExchange) -> OutputBinding:
        part = services.parts.part(exchange)
        assert isinstance(part, OutputBinding)
        return part

    async def invoke(exchange: ServerExchange, request: messages.InvokeRequest) -> messages.InvokeResponse:
        try:
            answer = await binding(exchange).invoke(Request(request.operation, request.data, dict(request.metadata)))
        except BindingError as error:
            raise RpcError(Code.UNKNOWN, str(error)) from None
        if answer is None:
            return messages.InvokeResponse()
        return messages.InvokeResponse(data=answer.data, metadata=answer.metadata, content_type=answer.content_type)

    async def operations(
        exchange: ServerExchange, request: messages.ListOperationsRequest
    ) -> messages.ListOperationsResponse:
        return messages.ListOperationsResponse(operations=binding(exchange).operations)

    services.beginning(OUTPUT, messages.OutputBindingInitRequest, messages.OutputBindingInitResponse)
    services.unary(OUTPUT, "Invoke", messages.InvokeRequest, invoke)
    services.unary(OUTPUT, "ListOperations", messages.ListOperationsRequest, operations)


def add_input(services: Services) -> None:
    """The methods of what calls the app."""

    async def read(exchange: ServerExchange) -> None:
        part = services.parts.part(exchange)
        assert isinstance(part, InputBinding)
        stream, answers = Stream(exchange, MAX_MESSAGE), Answers()

        async def deliver(event: Event) -> bytes:
            async def send(id_: str) -> None:
                message = messages.ReadResponse(
                    data=event.data, metadata=event.metadata, content_type=event.content_type, message_id=id_
                )
                await stream.send(message.SerializeToString())

            try:
                got = await answers.ask(send)
            except Gone:
                raise NotProcessed("the stream has ended") from None
            if got.HasField("response_error"):
                raise NotProcessed(got.response_error.message)
            return bytes(got.response_data)

        def take(data: bytes) -> None:
            got = decode(messages.ReadRequest, data)
            answers.answer(got.message_id, got)

        stream.begin()
        try:
            under_way = await part.read(deliver)
        except BindingError as error:
            raise RpcError(Code.UNKNOWN, str(error)) from None
        try:
            await reading(services.parts, stream, take)
        finally:
            answers.end()
            await under_way.close()
        stream.finish()

    services.beginning(INPUT, messages.InputBindingInitRequest, messages.InputBindingInitResponse)
    services.add(INPUT, "Read", read)
