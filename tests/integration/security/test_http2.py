"""Attacks by HTTP/2 on a running sidecar: what ends the connection, with which code, and that others notice nothing.

The bounds frame by frame are in `tests/wire/test_http2_hostile.py`.
"""

import contextlib
from collections.abc import Iterator
from struct import pack

import pytest
from tests.integration import harness, http_wire
from tests.integration.harness import Sidecar, World
from tests.integration.security.attacker import Attacker, call, flood
from tests.wire import conftest as wire

from pydapr.net.server import PREFACE
from pydapr.wire import frames, hpack
from pydapr.wire.frames import ErrorCode

GREW = 48 << 20
"""Bytes of memory that an attack may cost."""


@pytest.fixture(scope="module")
def sidecar(shared_world: World) -> Sidecar:
    return shared_world.sidecar("app", shared_world.app())


@pytest.fixture(params=["grpc", "http", "internal"])
def attacked(sidecar: Sidecar, request: pytest.FixtureRequest) -> Iterator[int]:
    """A port of the sidecar, which afterwards still answers others and has not grown."""
    before = sidecar.resident()
    yield getattr(sidecar, request.param)
    assert sidecar.call("GET", f"/v1.0/invoke/{sidecar.app_id}/method/m").status == 200
    assert sidecar.resident() < before + GREW


def test_rapid_reset(attacked: int) -> None:
    pieces = [
        b"".join(
            call(stream, end=False) + frames.rst_stream(stream, ErrorCode.CANCEL)
            for stream in range(first, first + 2000, 2)
        )
        for first in range(1, 40_000, 2000)
    ]
    assert flood(attacked, b"", pieces).told == (ErrorCode.ENHANCE_YOUR_CALM, "too many requests given up")


@pytest.mark.parametrize("payload", [b"", b"x" * 16_000])
def test_continuation_without_end(attacked: int, payload: bytes) -> None:
    begin = wire.frame(frames.HEADERS, 0, 1, b"")
    attacker = flood(attacked, begin, wire.frame(frames.CONTINUATION, 0, 1, payload), 200)
    assert attacker.told[0] == ErrorCode.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("frame", [wire.settings(), frames.ping(bytes(8), 0)])
def test_questions_whose_answers_nobody_reads(attacked: int, frame: bytes) -> None:
    """Nothing of the answers is read until the sidecar has had enough."""
    attacker = flood(attacked, b"", frame * 20_000, 30, reads=False)
    assert attacker.is_over


@pytest.mark.parametrize(
    "frame",
    [
        frames.window_update(0, 1),
        wire.frame(frames.PRIORITY, 0, 1, bytes(5)),
        wire.frame(0x77, 0, 0, b""),
        frames.SETTINGS_ACK,
        frames.ping(bytes(8), frames.ACK),
    ],
)
def test_frames_without_use(attacked: int, frame: bytes) -> None:
    attacker = flood(attacked, b"", frame * 2000, 20)
    assert attacker.told == (ErrorCode.ENHANCE_YOUR_CALM, "too many frames without use")


def test_empty_data(attacked: int) -> None:
    attacker = flood(attacked, call(1, end=False), wire.data(1, b"") * 2000, 20)
    assert attacker.told == (ErrorCode.ENHANCE_YOUR_CALM, "too many frames without use")


def test_a_header_bomb(attacked: int) -> None:
    """A field of 4 KB that stands in the table is named again with a byte each: 16 MB of header list in 4 KB."""
    value = b"x" * 4000
    block = hpack.encode(((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"x")))
    block += b"\x40\x01a" + b"\x7f" + _rest(len(value) - 127) + value + b"\xbe" * 4000
    attacker = Attacker(attacked)
    with contextlib.closing(attacker):
        attacker.send(wire.frame(frames.HEADERS, frames.END_HEADERS | 1, 1, block))
        _, _, stream, payload = attacker.wait_for(frames.RST_STREAM)
    assert (stream, payload) == (1, pack(">I", ErrorCode.ENHANCE_YOUR_CALM))


def test_windows_that_never_open(sidecar: Sidecar, shared_world: World) -> None:
    """Many answers are asked for and none is taken: each waits in the app, not here."""
    app = shared_world.apps[0]
    app.handler = http_wire.always(http_wire.answer(body=bytes(4 << 20)))
    path = f"/v1.0/invoke/{sidecar.app_id}/method/m".encode()
    fields = ((b":method", b"GET"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x"))
    before = sidecar.resident()
    attacker = Attacker(sidecar.http, PREFACE + wire.settings((frames.INITIAL_WINDOW_SIZE, 0)))
    try:
        with contextlib.closing(attacker):
            for stream in range(1, 200, 2):
                attacker.send(wire.headers(stream, fields, True))
            harness.eventually(lambda: len(app.seen) >= 100, "the app is asked")
            attacker.wait_for(frames.HEADERS)
            grew = sidecar.resident() - before
    finally:
        app.handler = http_wire.echo
    assert grew < GREW
    assert sidecar.call("GET", path.decode()).status == 200


def _rest(number: int) -> bytes:
    """What follows the first byte of a length in HPACK."""
    out = []
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes((*out, number))
