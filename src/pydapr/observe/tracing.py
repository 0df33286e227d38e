"""Which trace a request is part of, and whether it is sampled. One `Tracer` for the sidecar, made by `daprd.tracing`.

Called where requests come in (`api.http.traced`, `api.grpc.traced`), by what delivers messages when it does. The
context goes on as a `wire.tracecontext.Trace`; what is kept of a sampled request goes to `observe.tracing_batches`.
The rules are the original's (v1.18.3): a parent's decision is followed, a request without one is sampled by the
ratio of trace ids, and a new context goes out whether sampled or not.
"""

from __future__ import annotations

import os
import random
from time import time_ns

from mypy_extensions import mypyc_attr

from pydapr.wire import tracecontext
from pydapr.wire.tracecontext import Trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_RATE = 1e-4

INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = range(1, 6)
"""Kinds of spans, as OTLP numbers them."""

TOKEN = b"dapr-api-token"
"""A field that stays out of spans."""

_ODD = 1
_AHEAD = 64
"""Ids that are made together."""

_WORDS = {413: "Request Entity Too Large", 414: "Request URI Too Long", 416: "Requested Range Not Satisfiable",
          418: "I'm a teapot", 422: "Unprocessable Entity"}  # fmt: skip
"""Where Go has other words than Python."""

NOTHING = tracecontext.Unknown(tracecontext.NONE)


def rate_of(text: str) -> float:
    """What `spec.tracing.samplingRate` says; text that is no number is the default."""
    try:
        rate = float(text) if text.strip() == text and "_" not in text else DEFAULT_RATE
    except ValueError:
        return DEFAULT_RATE
    return rate if rate == rate else DEFAULT_RATE  # NaN is none either


def failure_of(status: int) -> str:
    """Why a request failed that was answered with a status of HTTP from 400 on."""
    from http import HTTPStatus

    try:
        return f"Code({status}): {_WORDS.get(status) or HTTPStatus(status).phrase}"
    except ValueError:
        return f"Code({status}): Unknown"


@mypyc_attr(allow_interpreted_subclasses=True)
class Span:
    """A sampled request: when it began and ended, its name, and what is known of it besides.

    `parent` is the parent's span id in hexadecimal, b"" without. Whoever ends it hands it to `sink`, once.
    """

    __slots__ = ("began", "ended", "failure", "kind", "name", "parent", "sink", "state", "traceparent")

    def __init__(self, trace: Trace, parent: bytes, name: str, kind: int, sink: Callable[[Span], None]) -> None:
        self.traceparent = trace.traceparent
        self.state = trace.tracestate
        self.parent = parent
        self.name = name
        self.kind = kind
        self.sink = sink
        self.failure: str | None = None
        """Why it failed, None when it did not."""
        self.began = time_ns()
        self.ended = 0

    def end(self) -> None:
        """Done, and on its way to be exported."""
        if not self.ended:
            self.ended = time_ns()
            self.sink(self)

    def attributes(self) -> list[tuple[str, str]]:
        """What is known of it. Asked for when it is exported, away from the request."""
        return []

    def answered(self, status: int) -> None:
        """The head of an HTTP answer goes out."""

    def called(self, app_id: str, method: str) -> None:
        """It is a call of an app."""

    def called_actor(self, actor_type: str, actor_id: str, method: str) -> None:
        """It is a call of an actor."""

    def failed(self, reason: str) -> None:
        """Its answer is a failure of gRPC."""
        self.failure = reason


class Tracer:
    """Gives requests their contexts.

    `sink` takes the spans of what is sampled; None when nobody wants them. Without `gives_ids` contexts go through
    as they come: that is so when neither an exporter nor a rate is configured. `rate` is not 0: then there is no
    tracer.
    """

    def __init__(self, rate: float, sink: Callable[[Span], None] | None, gives_ids: bool = True) -> None:
        self.sink = sink
        self._gives_ids = gives_ids
        # Ids need no secrecy, and the system's randomness costs three times as much.
        self._random = random.Random(os.urandom(32)).randbytes
        self._traces: list[bytes] = []
        self._spans: list[bytes] = []
        bound = int(min(max(rate, 0.0), 1.0) * (1 << 63)) << 1
        self._bound = b"g" if bound >> 64 else b"%016x" % bound
        self.root = self._root if gives_ids else self._nothing
        """The context of a request that is part of no trace yet."""

    @staticmethod
    def describe(rate: float) -> str:
        """The sampler, as the original's library names it."""
        root = f"TraceIDRatioBased{{{min(max(rate, 0.0), 1.0):g}}}"
        return (
            f"ParentBased{{root:{root},remoteParentSampled:AlwaysOnSampler,remoteParentNotSampled:AlwaysOffSampler,"
            "localParentSampled:AlwaysOnSampler,localParentNotSampled:AlwaysOffSampler}"
        )

    def _nothing(self) -> Trace:
        return NOTHING

    def _root(self) -> Trace:
        try:
            ids = self._traces.pop()
        except IndexError:
            ids = self._more_traces()
        # The ratio is of the second half of the trace id, as with OpenTelemetry for Go.
        flags = b"-01" if ids[16:32] < self._bound else b"-00"
        return Trace(b"00-%b%b" % (ids, flags))

    def _more_traces(self) -> bytes:
        text = self._random(24 * _AHEAD).hex().encode()
        self._traces = [b"%b-%b" % (text[at : at + 32], text[at + 32 : at + 48]) for at in range(0, len(text), 48)]
        return self._traces.pop()

    def _more_spans(self) -> bytes:
        text = self._random(8 * _AHEAD).hex().encode()
        self._spans = [text[at : at + 16] for at in range(0, len(text), 16)]
        return self._spans.pop()

    def below(self, parent: bytes, state: bytes) -> Trace:
        """The context of a request below `parent`, a `traceparent` that `tracecontext.parse` has found good."""
        if not self._gives_ids:
            return Trace(parent, state)
        try:
            span = self._spans.pop()
        except IndexError:
            span = self._more_spans()
        return Trace(b"%b%b%b" % (parent[:36], span, parent[52:]), state)


def is_sampled(trace: Trace) -> bool:
    """Whether a context of ours says that the request is sampled."""
    return trace.traceparent[54] & _ODD == 1


def state_of(text: bytes) -> bytes:
    """A `tracestate` that may go on, b"" for what is none (W3C Trace Context, 3.3)."""
    if len(text) > tracecontext.LONGEST_STATE:
        return b""
    members = [member.strip(b" \t") for member in text.split(b",")]
    members = [member for member in members if member]
    keys = [member.partition(b"=")[0] for member in members]
    if len(members) > 32 or len(set(keys)) != len(keys) or not all(map(tracecontext.is_member, members)):
        return b""
    return b",".join(members)
