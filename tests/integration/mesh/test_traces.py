"""Traces over HTTP where ours and the original's sidecars call each other: the same contexts, the same spans.

Runs when PYDAPR_ORIGINAL names a folder with the original executables.
"""

import os

import pytest
from tests.integration import harness
from tests.integration.collector import Collector, Span
from tests.integration.harness import World
from tests.integration.tracing.conftest import otlp

pytestmark = pytest.mark.skipif(not harness.ORIGINAL, reason="PYDAPR_ORIGINAL names no original executables")

FAST = {"OTEL_BSP_SCHEDULE_DELAY": "10"}
PROGRAMS = {"ours": harness.OURS, "original": [os.path.join(harness.ORIGINAL, "daprd")]}
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def plain(span: Span, *ids: str) -> tuple[object, ...]:
    """A span without what differs from run to run."""
    attributes = {key: value for key, value in span.attributes.items() if key != "server.port"}
    text = repr(sorted(attributes.items()))
    for number, one in enumerate(ids):
        text = text.replace(one, f"ID{number}")
    return span.kind, span.state, span.code, span.message, text


def spans(world: World, way: str) -> list[tuple[object, ...]]:
    """Those of a call of the app, and of one of the API."""
    collector = Collector()
    try:
        first, _, second = way.partition("-")
        flags = otlp(world, collector)
        app = world.app()
        callee = world.daprd("callee" + way, app, *flags, environment=FAST, program=PROGRAMS[second]).await_ready()
        caller = world.daprd("caller" + way, None, *flags, environment=FAST, program=PROGRAMS[first]).await_ready()
        url = f"/v1.0/invoke/{callee.app_id}/method/"
        harness.eventually(lambda: caller.call("GET", url + "first").status == 200, "the caller finds the callee")
        answer = caller.call("GET", url + "good?a=1", f"traceparent: {PARENT}", "tracestate: a=b", "dapr-x: y")
        seen = app.last
        told = answer.get("traceparent") or ""
        good = f"CallLocal/{callee.app_id}/good"
        caller.call("GET", "/v1.0/metadata", f"traceparent: {PARENT}")
        names = {(good, 3), (good, 2), ("/v1.0/metadata", 3)}
        harness.eventually(lambda: all(collector.named(*one) for one in names), f"spans of {way}")
        above, below = collector.named(good, 3)[0], collector.named(good, 2)[0]
        assert (above.trace, above.parent) == (PARENT[3:35], PARENT[36:52])
        assert (below.trace, below.parent) == (above.trace, above.id)
        assert told == f"00-{above.trace}-{above.id}-01"
        assert seen.all("traceparent") == [f"00-{below.trace}-{below.id}-01"]
        assert (answer.get("tracestate"), seen.get("tracestate")) == ("a=b", "a=b")
        found = [above, below, collector.named("/v1.0/metadata", 3)[0]]
        return [plain(one, callee.app_id, caller.app_id) for one in found]
    finally:
        collector.close()


def test_every_mixture_tells_the_same(world: World) -> None:
    measure = spans(world, "original-original")
    for way in ("ours-ours", "ours-original", "original-ours"):
        assert spans(world, way) == measure, way
