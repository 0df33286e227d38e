"""Trace context: what is one, in text and in binary, and how it stands in messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydapr.wire import hpack, tracecontext
from pydapr.wire.tracecontext import Trace

GOOD = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("text", "means"),
    [
        (GOOD, GOOD),
        (GOOD[:-2] + b"00", GOOD[:-2] + b"00"),
        (GOOD[:-2] + b"ff", GOOD[:-2] + b"03"),
        (b"01" + GOOD[2:], GOOD),
        (b"cc" + GOOD[2:] + b"-what-ever", GOOD),
        (GOOD + b"-more", b""),
        (b"ff" + GOOD[2:], b""),
        (GOOD.upper(), b""),
        (GOOD[:-1], b""),
        (b"00-" + b"0" * 32 + GOOD[35:], b""),
        (GOOD[:36] + b"0" * 16 + b"-01", b""),
        (b"nonsense", b""),
        (b"", b""),
    ],
)
def test_a_traceparent_is_read_as_the_original_reads_it(text: bytes, means: bytes) -> None:
    assert tracecontext.parse(text) == means


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8), st.integers(0, 3))
def test_binary_and_text_say_the_same(trace: bytes, span: bytes, flags: int) -> None:
    parent = b"00-%b-%b-%02x" % (trace.hex().encode(), span.hex().encode(), flags)
    assert tracecontext.binary(parent) == b"\0\0" + trace + b"\1" + span + b"\2" + bytes([flags])
    assert tracecontext.parse_binary(tracecontext.binary_text(parent)) == parent


@pytest.mark.parametrize("text", [b"", b"AA", b"!!!!", b"AQA", b"AAE" + b"A" * 30])
def test_what_is_no_binary_context_says_nothing(text: bytes) -> None:
    assert tracecontext.parse_binary(text) == b""


@given(st.binary(max_size=200))
def test_any_bytes_may_be_asked_for_a_context(text: bytes) -> None:
    for found in (tracecontext.parse(text), tracecontext.parse_binary(text)):
        assert found == b"" or len(found) == 55


def test_a_header_block_is_taken_apart_where_it_was_put_together() -> None:
    block = hpack.encode(((b":method", b"POST"), (b"te", b"trailers")))
    for end in (Trace(GOOD).block(), Trace(GOOD).both()):
        assert tracecontext.split(block + end) == (block, end)
        assert tracecontext.parent_of(end) == GOOD
        fields = dict(hpack.Decoder().decode(block + end))
        assert fields[b"traceparent"] == GOOD
    assert tracecontext.parse_binary(fields[b"grpc-trace-bin"]) == GOOD
    assert tracecontext.split(block) == (block, b"")


def test_a_request_without_a_trace_has_nothing_for_another_sidecar() -> None:
    nothing = tracecontext.Unknown(tracecontext.NONE)
    assert nothing.block() == nothing.both() == b""


def test_an_app_gets_our_context_in_place_of_the_clients() -> None:
    headers = [(b"a", b"1"), (b"traceparent", b"old"), (b"tracestate", b"x=y"), (b"b", b"2")]
    Trace(GOOD).add_to(headers)
    assert headers == [(b"a", b"1"), (b"tracestate", b"x=y"), (b"b", b"2"), (b"traceparent", GOOD)]
    Trace(GOOD, b"p=q").add_to(headers)
    assert headers[-2:] == [(b"traceparent", GOOD), (b"tracestate", b"p=q")]
    assert len(headers) == 4


def test_without_ids_an_app_gets_what_the_client_said() -> None:
    nothing = tracecontext.Unknown(tracecontext.NONE)
    said, silent = [(b"traceparent", b"old")], [(b"a", b"1")]
    nothing.add_to(said)
    nothing.add_to(silent)
    assert said == [(b"traceparent", b"old")]
    assert silent == [(b"a", b"1"), (b"traceparent", tracecontext.NONE)]


def test_an_answer_says_the_context_unless_the_app_did() -> None:
    assert Trace(GOOD).lines(200, ()) == b"Traceparent: %b\r\n" % GOOD
    assert Trace(GOOD).lines(200, ((b"traceparent", b"its own"),)) == b""
    told = tracecontext.Told(Trace(GOOD, b"a=b"), b"k=v")
    assert told.lines(200, ()) == b"Baggage: k=v\r\nTraceparent: %b\r\nTracestate: a=b\r\n" % GOOD
    assert told.fields(200, ((b"traceparent", b"its own"),)) == [(b"baggage", b"k=v")]


def test_an_app_that_speaks_grpc_gets_the_clients_own_context() -> None:
    ours = Trace(GOOD[:36] + b"1" * 16 + b"-00")
    text = tracecontext.binary_text(GOOD)
    rpc = ((b"content-type", b"application/grpc"), (b"grpc-trace-bin", text + b"="))
    assert tracecontext.for_rpc_app(rpc, ours) == [(b"traceparent", GOOD), (b"grpc-trace-bin", text)]
    http = ((b"traceparent", GOOD), (b"tracestate", b"a=b"))
    assert tracecontext.for_rpc_app(http, ours)[:2] == [(b"traceparent", GOOD), (b"tracestate", b"a=b")]
    assert tracecontext.for_rpc_app(rpc[:1], ours) == ours.metadata()
    assert tracecontext.for_rpc_app((), None) == []
