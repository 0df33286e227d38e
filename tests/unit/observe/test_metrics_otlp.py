"""Metrics in OTLP's words, made of what the metrics port shows."""

from struct import unpack

import pytest

from pydapr.observe import metrics, metrics_otlp
from pydapr.wire import invocation

BEGAN, NOW = 1, 2


def encoded(registry: metrics.Registry) -> dict[int, bytes]:
    """The fields of the one metric."""
    (block,) = metrics_otlp.blocks(registry.text())
    fields = dict(invocation.fields(metrics_otlp.encode(block, BEGAN, NOW)))[2]
    assert isinstance(fields, bytes)
    return {number: value for number, value in invocation.fields(fields) if isinstance(value, bytes)}


def attributes(point: bytes, number: int) -> dict[bytes, bytes]:
    out = {}
    for n, value in invocation.fields(point):
        if n == number:
            assert isinstance(value, bytes)
            pair = dict(invocation.fields(value))
            assert isinstance(pair[2], bytes)
            out[pair[1]] = dict(invocation.fields(pair[2]))[1]
    return out  # type: ignore[return-value]


def test_a_counter_is_a_sum_that_only_grows() -> None:
    registry = metrics.Registry({"app_id": "a"})
    registry.counter("calls", "Calls.", "app_id", "path").get('/x"y\\\n').inc(3)
    found = encoded(registry)
    assert (found[1], found[2]) == (b"calls", b"Calls.")
    kinds = dict(invocation.fields(found[7]))
    assert (kinds[2], kinds[3]) == (2, 1)
    point = kinds[1]
    assert isinstance(point, bytes)
    assert point[:9] == b"\x11" + BEGAN.to_bytes(8, "little")
    assert point[9:18] == b"\x19" + NOW.to_bytes(8, "little")
    assert unpack("<d", point[19:27]) == (3.0,)
    assert attributes(point, 7) == {b"app_id": b"a", b"path": b'/x"y\\\n'}


@pytest.mark.parametrize("path", ["/a\x0bb\x0c\x85\u2028\r", "/# HELP me", "\n# HELP me\n# TYPE me counter"])
def test_whatever_somebody_calls_stays_one_label(path: str) -> None:
    registry = metrics.Registry()
    registry.counter("calls", "Calls.", "path").get(path).inc()
    point = dict(invocation.fields(encoded(registry)[7]))[1]
    assert isinstance(point, bytes)
    assert attributes(point, 7) == {b"path": path.encode()}


def test_a_gauge_has_its_present_height() -> None:
    registry = metrics.Registry()
    registry.gauge("height", "Height.").get().set(-1.5)
    point = dict(invocation.fields(encoded(registry)[5]))[1]
    assert isinstance(point, bytes)
    assert unpack("<d", point[19:27]) == (-1.5,)


def test_a_histogram_has_what_is_within_each_bucket() -> None:
    registry = metrics.Registry()
    series = registry.histogram("sizes", "Sizes.", (10, 20), "path").get("/x")
    for value in (1, 2, 15, 100):
        series.record(value)
    fields = dict(invocation.fields(encoded(registry)[9]))
    assert fields[2] == 2
    point = fields[1]
    assert isinstance(point, bytes)
    assert unpack("<Q", point[19:27]) == (4,)
    assert unpack("<d", point[28:36]) == (118.0,)
    rest = dict(invocation.fields(point))
    assert isinstance(rest[6], bytes)
    assert isinstance(rest[7], bytes)
    assert unpack("<3Q", rest[6]) == (2, 1, 1)
    assert unpack("<2d", rest[7]) == (10.0, 20.0)
    assert attributes(point, 9) == {b"path": b"/x"}
