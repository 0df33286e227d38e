"""The context of a request: in from the client, out to the app, to other sidecars and back."""

import re

import pytest
from tests.integration import harness
from tests.integration.collector import Collector
from tests.integration.harness import Sidecar, World
from tests.integration.tracing.conftest import config, otlp

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NONE = "00-00000000000000000000000000000000-0000000000000000-00"
METHOD = "/v1.0/invoke/{}/method/hello"


def pair(world: World, *flags: str) -> tuple[Sidecar, str]:
    """A caller, and the URL of a method of another app."""
    callee = world.sidecar("callee", world.app(), *flags)
    caller = world.sidecar("caller", None, *flags)
    url = METHOD.format(callee.app_id)
    harness.eventually(lambda: caller.call("GET", url).status == 200, "the caller finds the callee")
    return caller, url


def test_without_configuration_contexts_pass_and_nothing_else(world: World) -> None:
    caller, url = pair(world)
    app = world.apps[0]
    assert caller.call("GET", url).get("traceparent") == NONE
    assert app.last.all("traceparent") == [NONE]
    answer = caller.call("GET", url, f"traceparent: {PARENT}", "tracestate: a=b", "baggage: k=v;p, x=%20")
    assert (answer.get("traceparent"), answer.get("tracestate")) == (PARENT, "a=b")
    assert answer.get("baggage") == "k=v;p, x=%20"
    assert (app.last.all("traceparent"), app.last.all("tracestate")) == ([PARENT], ["a=b"])
    assert app.last.all("baggage") == ["k=v;p, x=%20"]
    caller.call("GET", url, "traceparent: nonsense")
    assert app.last.all("traceparent") == ["nonsense"]


def test_at_rate_0_what_the_client_says_goes_to_the_app_and_nothing_is_said(world: World) -> None:
    caller, url = pair(world, *config(world, 'samplingRate: "0"\nstdout: true'))
    app = world.apps[0]
    answer = caller.call("GET", url, f"traceparent: {PARENT}", "baggage: nonsense")
    assert app.last.all("traceparent") == [PARENT]
    assert answer.status == 200
    assert not answer.names() & {"traceparent", "baggage"}
    caller.call("GET", url)
    assert app.last.all("traceparent") == []


@pytest.mark.parametrize("flags", ["00", "01"])
def test_each_sidecar_goes_a_step_down_and_keeps_the_decision(world: World, flags: str) -> None:
    caller, url = pair(world, *config(world, 'samplingRate: "1"'))
    app = world.apps[0]
    answer = caller.call("GET", url, f"traceparent: {PARENT[:-2]}{flags}", "tracestate: a=b")
    told, seen = answer.get("traceparent") or "", app.last.get("traceparent") or ""
    assert told[:36] == seen[:36] == PARENT[:36]
    assert told[-2:] == seen[-2:] == flags
    assert len({told, seen, PARENT}) == 3
    assert answer.get("tracestate") == app.last.get("tracestate") == "a=b"


def test_a_request_without_a_trace_begins_one(world: World) -> None:
    caller, url = pair(world, *config(world, 'samplingRate: "0.0001"'))
    seen = set()
    for _ in range(3):
        told = caller.call("GET", url).get("traceparent") or ""
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", told)
        assert (world.apps[0].last.get("traceparent") or "")[:36] == told[:36]
        seen.add(told[:36])
    assert len(seen) == 3


def test_errors_of_ours_say_the_trace_and_health_does_not(world: World, collector: Collector) -> None:
    sidecar = world.sidecar("app", None, *otlp(world, collector))
    answer = sidecar.call("GET", "/v1.0/invoke/nobody/method/x", f"traceparent: {PARENT}")
    assert answer.status == 500
    assert (answer.get("traceparent") or "").startswith(PARENT[:36])
    assert sidecar.call("GET", "/v1.0/healthz").get("traceparent") is None


def test_all_fields_of_baggage_go_on(world: World) -> None:
    caller, url = pair(world)
    answer = caller.call("GET", url, "baggage: a=b", "baggage: c=d")
    assert answer.get("baggage") == "a=b,c=d"
    assert world.apps[0].last.all("baggage") == ["a=b", "c=d"]


def test_baggage_that_is_none_is_refused(world: World) -> None:
    sidecar = world.sidecar("app", world.app())
    answer = sidecar.call("GET", METHOD.format(sidecar.app_id), "baggage: invalid-baggage")
    assert answer.status == 400
    assert answer.body == b'invalid baggage header: invalid baggage list-member: "invalid-baggage"\n'
    assert world.apps[0].seen == []


def test_a_traceparent_of_the_app_is_passed_on(world: World) -> None:
    from tests.integration.http_wire import always, answer

    app = world.app(always(answer("200 OK", f"traceparent: {PARENT}")))
    sidecar = world.sidecar("app", app, *config(world, 'samplingRate: "1"'))
    assert sidecar.call("GET", METHOD.format(sidecar.app_id)).all("traceparent") == [PARENT]
