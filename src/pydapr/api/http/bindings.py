"""Output bindings over HTTP. Called by the router; asks `blocks.bindings`."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydapr.api.http.errors import JSON
from pydapr.blocks.bindings import Bindings
from pydapr.components.bindings import Request
from pydapr.errors import BindingFailed, MalformedRequest
from pydapr.lib import urls
from pydapr.net.body import TooLarge
from pydapr.net.exchange import Exchange, Header
from pydapr.wire import baggage, tracecontext

if TYPE_CHECKING:
    from pydapr.api.http.binding_body import Wanted

PREFIX = b"/v1.0/bindings/"

_is_name = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z").match


class BindingsApi:
    """Answers POST and PUT of `/v1.0/bindings/<name>`."""

    def __init__(self, bindings: Bindings, max_body: int) -> None:
        self._bindings = bindings
        self._max_body = max_body

    async def invoke(self, exchange: Exchange) -> None:
        """Has a binding do something; what it tells besides its data stands in header fields, of errors too."""
        name = urls.segments(exchange.target, PREFIX)[0]
        wanted = await self._request(exchange)
        metadata = {**(wanted.metadata or {}), **_context(exchange)}
        try:
            answer = await self._bindings.invoke(name, Request(wanted.operation, bytes(wanted.data), metadata))
        except BindingFailed as error:
            error.fields = _fields(error.metadata)
            raise
        if answer is None:
            exchange.respond(204, ())
        else:
            exchange.respond(200, (*JSON, *_fields(answer.metadata)), answer.data)

    async def _request(self, exchange: Exchange) -> "Wanted":
        try:
            body = await exchange.body.read_all(self._max_body)
        except TooLarge as error:
            raise MalformedRequest(f"failed deserializing HTTP body: {error}") from None
        from pydapr.api.http import binding_body

        return binding_body.read(body)


def _context(exchange: Exchange) -> dict[str, str]:
    """What a binding is told of the trace that the request is part of. Raises `MalformedRequest`."""
    out = {}
    trace = exchange.trace
    if trace is not None:
        out["traceparent"] = trace.traceparent.decode()
        if trace.tracestate:
            out["tracestate"] = trace.tracestate.decode("latin-1")
    carried = b",".join([value for name, value in exchange.context if name == tracecontext.BAGGAGE])
    if carried:
        try:
            baggage.check(carried)
        except baggage.Invalid as error:
            raise MalformedRequest(f"invalid baggage header: {error}") from None
        out["baggage"] = carried.decode("latin-1")
    return out


def _fields(metadata: Mapping[str, str]) -> list[Header]:
    """What a binding tells as header fields, where it can be one."""
    return [
        (b"metadata." + name.lower().encode(), " ".join(value.splitlines()).encode("utf-8", "replace"))
        for name, value in metadata.items()
        if _is_name(name)
    ]
