"""Which trace a request is part of, and whether it is sampled."""

import pytest

from pydapr.observe import tracing
from pydapr.observe.tracing import Span, Tracer
from pydapr.wire import tracecontext

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0%d"


def ignore(_: Span) -> None:
    """Takes a span."""


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("", 1e-4),
        ("1", 1.0),
        ("0", 0.0),
        ("0.25", 0.25),
        ("1e-2", 0.01),
        ("all", 1e-4),
        (" 1", 1e-4),
        ("NaN", 1e-4),
        ("1_0", 1e-4),
    ],
)
def test_a_rate_that_is_no_number_is_the_default(text: str, rate: float) -> None:
    assert tracing.rate_of(text) == rate


def test_each_root_has_ids_of_its_own() -> None:
    tracer = Tracer(1.0, ignore)
    found = {tracer.root().traceparent for _ in range(1000)}
    assert len(found) == 1000
    assert all(tracecontext.parse(one) == one and one.endswith(b"-01") for one in found)


def test_roots_are_sampled_by_the_ratio() -> None:
    sampled = [tracing.is_sampled(Tracer(rate, ignore).root()) for rate in (-1.0, 2.0)]
    assert sampled == [False, True]
    tracer = Tracer(0.25, ignore)
    roots = [tracer.root() for _ in range(4000)]
    assert 700 < sum(map(tracing.is_sampled, roots)) < 1300
    # The same trace is decided upon alike by every sidecar, by the second half of its id.
    assert all(tracing.is_sampled(one) == (int(one.traceparent[19:35], 16) >> 1 < 1 << 61) for one in roots)


@pytest.mark.parametrize("flags", [0, 1])
def test_a_parents_decision_is_followed(flags: int) -> None:
    for rate in (-1.0, 1.0):
        below = Tracer(rate, ignore).below(PARENT % flags, b"a=b")
        assert below.traceparent[:36] == (PARENT % flags)[:36]
        assert below.traceparent[36:52] != (PARENT % flags)[36:52]
        assert tracing.is_sampled(below) == bool(flags)
        assert below.tracestate == b"a=b"


def test_contexts_pass_as_they_come_when_nobody_asked_for_traces() -> None:
    tracer = Tracer(1e-4, None, gives_ids=False)
    assert tracer.below(PARENT % 1, b"a=b").traceparent == PARENT % 1
    assert tracer.root().traceparent == tracecontext.NONE
    assert not tracer.root().is_known


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (b"a=b", b"a=b"), (b"a=b , c=d,", b"a=b,c=d"), (b"t@v=1", b"t@v=1"), (b"", b""), (b"a", b""), (b"A=b", b""),
        (b"a=b,a=c", b""), (b"a=" + b"x" * 600, b""), (b",".join(b"k%d=v" % n for n in range(33)), b""),
    ],
)  # fmt: skip
def test_a_state_that_is_none_is_dropped(text: bytes, state: bytes) -> None:
    assert tracing.state_of(text) == state


def test_a_span_ends_once() -> None:
    ended: list[Span] = []
    span = Span(Tracer(1.0, ignore).root(), b"", "name", tracing.CLIENT, ended.append)
    span.end()
    span.end()
    assert ended == [span]
    assert span.ended >= span.began
