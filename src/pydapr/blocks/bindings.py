"""Bindings: operations on systems outside for the app, and events from outside that call it.

`Bindings` is called by the faces, `Events` by `daprd.bindings`; both go on to `components.bindings`, and events to the
app by `app.bindings`. Rules and words are the original's (v1.18.3, `pkg/runtime/processor/binding`).
"""

import asyncio
import functools
from binascii import b2a_base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pydapr.app import bindings as app_bindings
from pydapr.app.bindings import App, Declined, Reply, Saved
from pydapr.components.bindings import (
    CREATE,
    NO_METADATA,
    Answer,
    BindingError,
    Event,
    InputBinding,
    NotProcessed,
    OutputBinding,
    Reading,
    Request,
)
from pydapr.components.state import Set
from pydapr.errors import BindingFailed, Code, DaprError, RpcError
from pydapr.lib.record import Record
from pydapr.observe import logging, tracing
from pydapr.policy import breaker, operations, resiliency, runner
from pydapr.wire import tracecontext

if TYPE_CHECKING:
    from pydapr.observe.metrics_blocks import OperationMetrics
    from pydapr.observe.metrics_grpc import Method
    from pydapr.wire.tracecontext import Trace

log = logging.get("dapr.runtime.processor.binding")
input_log = logging.get("dapr.runtime.processor.binding.input")

Save = Callable[[str, Sequence[Set]], Awaitable[None]]
"""Saves values in the state store of a name; of none when there is no such store. Raises `DaprError`."""


class Bindings:
    """The output bindings by name."""

    def __init__(self, outputs: Mapping[str, OutputBinding], policies: resiliency.Resiliency | None = None) -> None:
        self._outputs = outputs
        self._operations = operations.Operations(resiliency.BINDING, BindingError, policies)
        self.metrics: OperationMetrics | None = None

    async def invoke(self, name: str, request: Request) -> Answer | None:
        """What the app wants done. Raises `BindingFailed`."""
        clock = asyncio.get_running_loop().time
        began = clock()
        is_success = False
        try:
            answer = await self.send(name, request)
            is_success = True
        except BindingError as error:
            raise BindingFailed(name, str(error), error.metadata) from None
        finally:
            if self.metrics is not None:
                self.metrics.done(name, request.operation, is_success, clock() - began)
        return answer

    async def send(self, name: str, request: Request) -> Answer | None:
        """Has a binding carry out an operation, under its policies. Raises `BindingError`."""
        if not request.operation:
            raise BindingError("operation field is missing from request")
        found = self._outputs.get(name)
        if found is None:
            raise BindingError(f"couldn't find output binding {name}")
        if request.operation not in found.operations:
            raise BindingError(
                f"binding {name} does not support operation {request.operation}. "
                f"supported operations:{' '.join(found.operations)}"
            )
        told = NO_METADATA

        async def once() -> Answer | None:
            nonlocal told
            try:
                return await found.invoke(request)
            except BindingError as error:
                told = error.metadata
                raise

        try:
            return await self._operations.run(name, request.operation, once)
        except operations.Failed as error:
            raise BindingError(found.scrub(str(error)), told) from None


class Input(Record):
    """An input binding as its resource wants it."""

    name: str
    binding: InputBinding
    route: str
    is_wanted: bool
    """Whether the resource says that it is for input, so that the app need not be asked."""


class Events:
    """Gives the app what input bindings have for it, and carries out what the app answers."""

    def __init__(
        self,
        inputs: Sequence[Input],
        app: App,
        outputs: Bindings,
        save: Save,
        seconds: float,
        policies: resiliency.Resiliency | None = None,
    ) -> None:
        self._inputs, self._app, self._outputs, self._save = inputs, app, outputs, save
        self._seconds = seconds
        self._policies = policies
        self._runner = runner.Runner(*app_bindings.UNREACHED)
        self._readings: list[Reading] = []
        self._is_open = False
        self._is_wanted = False
        self._changing = asyncio.Lock()
        self.metrics: OperationMetrics | None = None
        self.calls: Method | None = None
        """For events of an app that speaks gRPC, which the original counts as if they were calls of its API as well."""
        self.tracer: tracing.Tracer | None = None

    async def begin(self) -> None:
        """Reads from those bindings that the app wants events of. One that fails leaves those behind it unread, as
        with the original; the log tells."""
        async with self._changing:
            if self._is_open:
                return
            self._is_open = self._is_wanted = True
            try:
                for one in self._inputs:
                    if self._is_wanted:
                        await self._read(one)
            except (app_bindings.Failed, BindingError) as error:
                log.warning(f"failed to read from bindings: {error}")

    async def pause(self) -> None:
        """Takes no further event, and waits for those under way."""
        self._is_wanted = False
        async with self._changing:
            readings, self._readings = self._readings, []
            try:
                async with asyncio.TaskGroup() as group:
                    for reading in readings:
                        group.create_task(reading.close())
            finally:
                self._is_open = False  # and not before: a source may lose what it is told was not taken

    async def _read(self, one: Input) -> None:
        if not one.is_wanted and not await self._app.takes(one.name, one.route, self._seconds):
            log.info(f"app has not subscribed to binding {one.name}.")
            return
        try:
            self._readings.append(await one.binding.read(functools.partial(self._deliver, one)))
        except BindingError as error:
            reason = one.binding.scrub(str(error))
            log.error(f"error reading from input binding {one.name}: {reason}")
            raise BindingError(reason) from None

    async def _deliver(self, one: Input, event: Event) -> bytes:
        """What the app answers to an event. Raises `NotProcessed`."""
        if not self._is_open:
            raise NotProcessed("input binding is closed")
        clock = asyncio.get_running_loop().time
        began = clock()
        is_success = False
        try:
            reply = await self._call(one, event)
            is_success = True
        except NotProcessed as error:
            input_log.debug(f"error from app consumer for binding [{one.name}]: {error}")
            raise
        finally:
            if self.metrics is not None:
                self.metrics.done(one.name, "", is_success, clock() - began)
        if reply.states or reply.to:
            await self._carry_out(reply)
        return reply.data

    async def _call(self, one: Input, event: Event) -> Reply:
        trace = self._trace(one.name, event.metadata) if self.tracer is not None else None
        span = trace.record if trace is not None else None
        definition = None
        if self._policies is not None:
            now = asyncio.get_running_loop().time()
            definition = self._policies.component(one.name, resiliency.BINDING, resiliency.INBOUND, now)

        async def once() -> Reply:
            return await self._app.give(one.name, one.route, event.data, event.metadata, trace)

        work = once() if definition is None else self._runner.run(definition, once, lambda: True)
        try:
            return await (work if self.calls is None else _counted(work, event, self.calls))
        except Declined as declined:
            if span is not None and declined.code >= 400:
                span.failed(tracing.failure_of(declined.code))
            try:
                return await declined.reply()
            except app_bindings.Failed as error:
                raise NotProcessed(str(error)) from None
        except (*app_bindings.UNREACHED, runner.DeadlineExceeded, breaker.Refused) as error:
            if span is not None:
                span.failed(error.message if isinstance(error, RpcError) else str(error))
            raise NotProcessed(f"error invoking app: {error}") from None
        finally:
            if isinstance(span, tracing.Span):
                span.end()

    def _trace(self, name: str, metadata: Mapping[str, str]) -> "Trace":
        """The trace of an event, below that of which its source tells."""
        tracer = self.tracer
        assert tracer is not None
        parent, state = b"", b""
        if text := metadata.get("grpc-trace-bin"):
            raw = text.encode("utf-8", "surrogateescape")
            parent = tracecontext.parse(tracecontext.parse_binary(b2a_base64(raw, newline=False)))
        elif text := metadata.get("traceparent"):
            parent = tracecontext.parse(text.encode("utf-8", "replace"))
            state = tracing.state_of(metadata.get("tracestate", "").encode("utf-8", "replace"))
        trace = tracer.below(parent, state) if parent else tracer.root()
        if tracer.sink is not None and tracing.is_sampled(trace):
            trace.record = EventSpan(trace, parent[36:52], name, self._app.described(name), tracer.sink)
        return trace

    async def _carry_out(self, reply: Reply) -> None:
        """What the app wants done with its answer; the log tells what failed."""
        if reply.states:
            try:
                await self._save(reply.store, [_set(one) for one in reply.states])
            except DaprError as error:
                log.error(f"error saving state from app response: {error.message}")
        request = Request(CREATE, reply.data or b"null")
        if reply.is_parallel:
            async with asyncio.TaskGroup() as group:
                for name in reply.to:
                    group.create_task(self._send_on(name, request))
            return
        for name in reply.to:
            if not await self._send_on(name, request):
                break

    async def _send_on(self, name: str, request: Request) -> bool:
        try:
            await self._outputs.send(name, request)
        except BindingError as error:
            log.error(f"error executing app response: {error}")
            return False
        return True


class EventSpan(tracing.Span):
    """An event of an input binding."""

    __slots__ = ("_binding", "_method")

    def __init__(
        self, trace: "Trace", parent: bytes, binding: str, method: str, sink: Callable[[tracing.Span], None]
    ) -> None:
        super().__init__(trace, parent, f"bindings/{binding}", tracing.CLIENT, sink)
        self._binding, self._method = binding, method

    def attributes(self) -> list[tuple[str, str]]:
        return [
            ("db.name", self._binding), ("rpc.service", "Dapr"), ("db.system", "bindings"),
            ("db.connection_string", self._method),
        ]  # fmt: skip


async def _counted(work: Awaitable[Reply], event: Event, calls: "Method") -> Reply:
    clock = asyncio.get_running_loop().time
    began = clock()
    code, size = int(Code.UNKNOWN), 0
    try:
        reply = await work
        code, size = int(Code.OK), len(reply.data)
    except RpcError as error:
        code = error.code
        raise
    finally:
        calls.ended(code, clock() - began)
        calls.took(len(event.data))
        calls.gave(size)
    return reply


def _set(one: Saved) -> Set:
    return Set(
        one.key,
        one.value,
        etag=one.etag,
        concurrency=one.concurrency,
        consistency=one.consistency,
        metadata=one.metadata,
    )
