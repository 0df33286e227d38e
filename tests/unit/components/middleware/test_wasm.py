"""WebAssembly guests that handle requests. Each is written here, as text."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.components.middleware.conftest import Asked, End, Web

pytest.importorskip("wasmtime")

from tests.unit.components.middleware.guests import ANSWERED, GO_ON, answer, module

from pydapr.components import read
from pydapr.components.drivers import wasm as driver
from pydapr.components.middleware.wasm import Options, Wasm
from pydapr.net.body import Body, Disconnected
from pydapr.net.exchange import Exchange, Handler
from pydapr.observe import logging

Make = Callable[..., Awaitable[Wasm]]

TO_BODY = "(call $write_body (i32.const 1) (i32.const 4096) {})"
"""Answers with what stands at 4096, as long as this says."""


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Opens the middleware with a guest."""
    opened: list[Wasm] = []

    async def of(code: bytes, **options: object) -> Wasm:
        file = tmp_path / f"guest{len(opened)}.wasm"
        await asyncio.to_thread(file.write_bytes, code)
        made = Wasm(Options(url=f"file://{file}", **options))  # type: ignore[arg-type]
        opened.append(made)
        await made.open()
        return made

    yield of
    for one in opened:
        await one.close()


async def through(made: Wasm, asked: Asked, end: Handler | None = None) -> Asked:
    await asyncio.wait_for(made.wrap(end or End())(asked), 30)
    return asked


# -- requests --


async def test_guest_that_does_nothing_lets_everything_pass(make: Make, end: End) -> None:
    asked = await through(await make(module()), Asked(b"/a?b", [(b"x", b"y")], b"hello", b"PUT"), end)

    assert (asked.status, asked.sent) == (200, b"hello")
    one = end.seen[0]
    assert (one.method, one.target, list(one.headers)) == (b"PUT", b"/a?b", [(b"x", b"y")])


async def test_guest_answers_in_place_of_the_handler(make: Make, end: End) -> None:
    told = "(call $add_header_value (i32.const 1) (i32.const 8) (i32.const 3) (i32.const 16) (i32.const 3))"
    code = module(told + answer(418, 0, 5) + ANSWERED, texts={0: "hello", 8: "X-A", 16: "b\\0a"})

    asked = await through(await make(code), Asked(body=b"not read"), end)

    assert (asked.status, asked.sent, asked.told, end.seen) == (418, b"hello", {b"x-a": b"b  "}, [])


async def test_guest_changes_the_request(make: Make, end: End) -> None:
    code = module(
        "(call $set_method (i32.const 0) (i32.const 4))"
        "(call $set_uri (i32.const 8) (i32.const 6))"
        "(call $set_header_value (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24) (i32.const 1))"
        "(call $add_header_value (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 32) (i32.const 1))"
        "(call $remove_header (i32.const 0) (i32.const 40) (i32.const 1))"
        "(call $write_body (i32.const 0) (i32.const 48) (i32.const 3))"
        "(call $write_body (i32.const 0) (i32.const 56) (i32.const 3))" + GO_ON,
        texts={0: "POST", 8: "/n?x=y", 16: "H", 24: "1", 32: "2", 40: "G", 48: "new", 56: "est"},
    )
    asked = Asked(b"/old", [(b"h", b"0"), (b"h", b"9"), (b"g", b"x"), (b"content-length", b"3")], b"old")

    assert (await through(await make(code), asked, end)).sent == b"newest"
    one = end.seen[0]
    assert (one.method, one.target, list(one.headers)) == (b"POST", b"/n?x=y", [(b"h", b"1"), (b"h", b"2")])


@pytest.mark.parametrize(
    ("uri", "target"), [("", b"/"), ("/a b", None), ("http://h/x?y", b"/x?y"), ("http://h?y", b"/?y"), ("x", None)]
)
async def test_uri_must_be_one(make: Make, end: End, uri: str, target: bytes | None) -> None:
    code = module(f"(call $set_uri (i32.const 0) (i32.const {len(uri)}))" + GO_ON, texts={0: uri})

    asked = await through(await make(code), Asked(), end)

    assert asked.status == (500 if target is None else 200)
    assert [one.target for one in end.seen] == ([] if target is None else [target])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("(call $get_method (i32.const 4096) (i32.const 99))", b"GET"),
        ("(call $get_uri (i32.const 4096) (i32.const 99))", b"/a?b=c"),
        ("(call $get_uri (i32.const 4096) (i32.const 2))", b"\0" * 6),
        ("(call $get_protocol_version (i32.const 4096) (i32.const 99))", b"HTTP/1.1"),
        ("(call $get_source_addr (i32.const 4096) (i32.const 99))", b"192.0.2.1:4000"),
        ("(call $get_config (i32.const 4096) (i32.const 99))", b"{conf}"),
        (
            "(i32.wrap_i64 (call $get_header_names (i32.const 0) (i32.const 4096) (i32.const 99)))",
            b"a\0host\0x\0",
        ),
        (
            "(i32.wrap_i64 (call $get_header_values"
            " (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4096) (i32.const 99)))",
            b"1\0002\0",
        ),
        ("(i32.wrap_i64 (call $get_header_names (i32.const 2) (i32.const 4096) (i32.const 99)))", b""),
    ],
)
async def test_guest_sees_the_request(make: Make, call: str, said: bytes) -> None:
    made = await make(module(TO_BODY.format(call) + ANSWERED, texts={0: "X"}), guest_config="{conf}")
    asked = Asked(b"/a?b=c", [(b"x", b"1"), (b"host", b"h"), (b"x", b"2"), (b"a", b"b")])

    assert (await through(made, asked)).sent == said


async def test_names_are_counted(make: Make) -> None:
    names = "(call $get_header_names (i32.const 0) (i32.const 4096) (i32.const 0))"
    code = module(f"(i64.store (i32.const 4096) {names})" + TO_BODY.format("(i32.const 8)") + ANSWERED)

    asked = await through(await make(code), Asked(headers=[(b"ab", b"1"), (b"c", b"2"), (b"c", b"3")]))

    assert asked.sent == (5).to_bytes(4, "little") + (2).to_bytes(4, "little")


# -- bodies of requests --

READ = "(call $read_body (i32.const 0) (i32.const 4096) (i32.const {}))"


async def test_what_is_read_is_gone_and_what_is_not_goes_on(make: Make, end: End) -> None:
    code = module(f"(drop {READ.format(3)})" + GO_ON)

    assert (await through(await make(code), Asked(body=b"abcdef"), end)).sent == b"def"


async def test_with_buffer_request_all_of_it_goes_on(make: Make, end: End) -> None:
    enable = "(drop (call $enable_features (i32.const 1)))"
    made = await make(module(f"(drop {READ.format(3)})" + GO_ON, start=enable))

    assert (await through(made, Asked(body=b"abcdef"), end)).sent == b"abcdef"


async def test_body_is_read_while_it_arrives_and_its_end_is_told(make: Make, end: End) -> None:
    asked = Asked()
    asked.body = Body()
    code = module(
        f"(i64.store (i32.const 8000) {READ.format(3)}) (i64.store (i32.const 8008) {READ.format(100)})"
        "(call $write_body (i32.const 1) (i32.const 8000) (i32.const 16))" + ANSWERED
    )
    task = asyncio.create_task(through(await make(code), asked, end))
    for piece in (b"ab", b"cd", b"ef"):
        asked.body.feed(piece)
        await asyncio.sleep(0)
    asked.body.end()
    await task

    assert [int.from_bytes(asked.sent[at : at + 4], "little") for at in (0, 4, 8, 12)] == [3, 0, 3, 1]


async def test_rest_of_a_body_arrives_behind_the_guest(make: Make, end: End) -> None:
    asked = Asked()
    asked.body = Body()
    asked.body.feed(b"abc")
    task = asyncio.create_task(through(await make(module(f"(drop {READ.format(2)})" + GO_ON)), asked, end))
    asked.body.feed(b"def")
    asked.body.end()

    assert (await task).sent == b"cdef"


async def test_client_that_goes_away_while_the_guest_reads(make: Make, end: End) -> None:
    asked = Asked()
    asked.body = Body()
    asked.body.fail(Disconnected("gone"))

    await through(await make(module(f"(drop {READ.format(2)})" + GO_ON)), asked, end)

    assert (asked.status, end.seen) == (500, [])


# -- answers --

ENABLE = "(drop (call $enable_features (i32.const 2)))"


async def teapot(exchange: Exchange) -> None:
    exchange.begin(418, [(b"content-length", b"6"), (b"x", b"1")])
    await exchange.write(b"abc")
    await exchange.write(b"def")
    exchange.finish()


async def test_guest_changes_a_buffered_answer(make: Make) -> None:
    response = (
        "(if (i32.eq (call $get_status_code) (i32.const 418)) (then"
        "  (call $set_status_code (i32.const 201))"
        "  (call $set_header_value (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 1))"
        "  (local.set $n (i32.wrap_i64 (call $read_body (i32.const 1) (i32.const 4096) (i32.const 4))))"
        "  (call $write_body (i32.const 1) (i32.const 4096) (local.get $n))"
        "  (call $write_body (i32.const 1) (i32.const 8) (i32.const 1))))"
    )
    made = await make(module(GO_ON, response, start=ENABLE, texts={0: "X", 8: "2"}))

    asked = await through(made, Asked(), teapot)

    assert (asked.status, asked.sent, asked.told) == (201, b"abcd2", {b"x": b"2"})


async def test_buffered_answer_that_is_left_alone(make: Make) -> None:
    asked = await through(await make(module(start=ENABLE)), Asked(), teapot)

    assert (asked.status, asked.sent, asked.told) == (418, b"abcdef", {b"x": b"1"})


async def test_buffered_answer_to_head_keeps_its_length(make: Make) -> None:
    async def head(exchange: Exchange) -> None:
        exchange.begin(200, [(b"content-length", b"6")])
        exchange.finish()

    asked = await through(await make(module(start=ENABLE)), Asked(method=b"HEAD"), head)

    assert (asked.status, asked.told) == (200, {b"content-length": b"6"})


async def test_fields_set_before_stand_in_the_answer(make: Make) -> None:
    set_ = "(call $set_header_value (i32.const 1) (i32.const {}) (i32.const 1) (i32.const 8) (i32.const 1))"
    code = module(set_.format(0) + set_.format(4) + GO_ON, texts={0: "X", 4: "Y", 8: "2"})

    asked = await through(await make(code), Asked(), teapot)

    assert asked.told == {b"content-length": b"6", b"x": b"1", b"y": b"2"}
    assert asked.sent == b"abcdef"


async def test_what_is_written_before_stands_first(make: Make) -> None:
    asked = await through(await make(module(answer(202, 0, 2) + GO_ON, texts={0: "<>"})), Asked(), teapot)

    assert (asked.status, asked.sent) == (202, b"<>abcdef")


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ("(call $set_status_code (i32.const 500))", "can't set status code after next handler unless buffer_response"),
        ("(call $write_body (i32.const 1) (i32.const 0) (i32.const 1))", "unless buffer_response is enabled"),
        ("(drop (call $read_body (i32.const 0) (i32.const 0) (i32.const 1)))", "unless buffer_request is enabled"),
        ("(call $set_uri (i32.const 0) (i32.const 0))", "can't set uri after next handler"),
        ("(call $remove_header (i32.const 0) (i32.const 0) (i32.const 1))", "can't remove request header after next"),
    ],
)
async def test_what_comes_too_late_fails_in_the_log(
    make: Make, response: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = await through(await make(module(GO_ON, response, texts={0: "x"})), Asked(), teapot)

    assert (asked.status, asked.sent) == (418, b"abcdef")
    assert reason in capfd.readouterr().out


async def test_guest_keeps_a_number_between_request_and_answer(make: Make) -> None:
    response = (
        "(i32.store (i32.const 0) (local.get $context)) (call $write_body (i32.const 1) (i32.const 0) (i32.const 4))"
    )
    made = await make(module("(i64.const 0xFFFFFFFE00000001)", response, start=ENABLE))

    assert (await through(made, Asked())).sent == bytes((0xFE, 0xFF, 0xFF, 0xFF))


async def failing(exchange: Exchange) -> None:
    raise OSError("no app")


async def test_failure_behind_is_told_to_the_guest_and_goes_on(make: Make) -> None:
    plain = await make(module(start=ENABLE))
    with pytest.raises(OSError, match="no app"):
        await through(plain, Asked(), failing)

    rescues = await make(
        module(GO_ON, f"(if (local.get $is_error) (then {answer(503, 0, 4)}))", start=ENABLE, texts={0: "away"})
    )
    asked = await through(rescues, Asked(), failing)

    assert (asked.status, asked.sent) == (503, b"away")


async def test_answer_that_breaks_off_is_broken_off(make: Make) -> None:
    async def breaks(exchange: Exchange) -> None:
        exchange.begin(200, [])
        exchange.abort()

    for made in (await make(module()), await make(module(start=ENABLE))):
        assert (await through(made, Asked(), breaks)).status == -1


async def test_guest_is_used_again_when_who_asked_has_gone_with_the_answer(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await make(module())
    back = asyncio.Event()
    monkeypatch.setattr(made, "_give_back", lambda guest: back.set())

    async def answers(exchange: Exchange) -> None:
        exchange.respond(200, [])
        task.cancel()  # comes into force where the guest is waited for

    task = asyncio.ensure_future(made.wrap(answers)(Asked()))
    await asyncio.wait((task,), timeout=30)

    await asyncio.wait_for(back.wait(), 30)
    assert task.cancelled()


# -- guests that fail --


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ("unreachable", b"unreachable"),
        ("(call $set_uri (i32.const 131070) (i32.const 6))" + GO_ON, b"out of memory reading uri"),
        ("(drop (call $get_uri (i32.const 131072) (i32.const 99)))" + GO_ON, b"out of memory writing"),
        ("(drop (call $read_body (i32.const 0) (i32.const 0) (i32.const 0)))" + GO_ON, b"buf_limit==0 reading body"),
        ("(drop (call $read_body (i32.const 7) (i32.const 0) (i32.const 1)))" + GO_ON, b"unsupported body kind: 7"),
        ("(call $remove_header (i32.const 9) (i32.const 0) (i32.const 1))" + GO_ON, b"unsupported header kind: 9"),
        ("(call $remove_header (i32.const 3) (i32.const 0) (i32.const 1))" + GO_ON, b"trailers are not supported"),
        ("(call $remove_header (i32.const 0) (i32.const 0) (i32.const 0))" + GO_ON, b"header name cannot be empty"),
        ("(call $set_method (i32.const 0) (i32.const 0))" + GO_ON, b"HTTP method cannot be empty"),
        ("(call $set_status_code (i32.const 99))" + GO_ON, b"invalid status code 99"),
    ],
)
async def test_guest_that_fails_is_an_error_and_is_thrown_away(
    make: Make, end: End, request_: str, reason: bytes
) -> None:
    made = await make(module(request_, texts={0: "x"}))

    asked = await through(made, Asked(), end)

    assert (asked.status, end.seen) == (500, [])
    assert reason in asked.sent
    assert made._idle == []


@pytest.mark.parametrize(("where", "code"), [("start", 0), ("request", 0), ("request", 3)])
async def test_guest_may_leave_when_it_has_started_and_not_later(make: Make, where: str, code: int) -> None:
    leave = f"(call $leave (i32.const {code}))"
    imports = f'(import "{WASI}" "proc_exit" (func $leave (param i32)))'
    start, request = (leave, GO_ON) if where == "start" else ("", leave + GO_ON)
    made = await make(module(request, start=start, imports=imports))

    asked = await through(made, Asked())

    assert asked.status == (200 if where == "start" else 500)
    assert (b"the guest left" in asked.sent) == (where == "request")


async def test_guest_that_does_not_end_is_stopped_and_holds_up_nobody(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "SECONDS", 0.5)
    loops = "(if (i32.eq (call $get_uri (i32.const 0) (i32.const 99)) (i32.const 5)) (then (loop $l (br $l))))"
    made = await make(module(loops + GO_ON))

    stuck = asyncio.create_task(through(made, Asked(b"/loop")))
    assert (await through(made, Asked(b"/"))).status == 200
    assert not stuck.done()

    assert (await stuck).sent.endswith(b"the guest was stopped: it ran longer than 0.5 s")


async def test_close_stops_guests(make: Make) -> None:
    made = await make(module("(drop (call $get_uri (i32.const 0) (i32.const 9))) (loop $l (br $l))" + GO_ON))
    stuck = asyncio.create_task(through(made, Asked()))
    await asyncio.sleep(0)
    await asyncio.wait_for(made.close(), 9)

    assert (await stuck).status == 500


async def test_close_ends_the_wait_for_a_body(make: Make) -> None:
    made = await make(module(f"(drop {READ.format(2)})" + GO_ON))
    asked = Asked()
    asked.body = Body()
    stuck = asyncio.create_task(through(made, asked))
    while not made._reading:  # noqa: ASYNC110  # a guest tells nobody
        await asyncio.sleep(0)
    await asyncio.wait_for(made.close(), 9)

    assert (await stuck).status == 500


async def test_wait_for_a_body_that_begins_after_the_close_ends_at_once(make: Make) -> None:
    made = await make(module(GO_ON))
    await made.close()
    assert made._runner is not None
    closing = made._runner.closing

    with pytest.raises(driver.GuestFailed, match="error reading body"):
        await asyncio.wait_for(asyncio.to_thread(made._more, Body(), asyncio.get_running_loop(), closing), 9)


async def test_guests_run_side_by_side(make: Make, end: End) -> None:
    made = await make(module("(call $set_uri (i32.const 0) (call $get_uri (i32.const 0) (i32.const 99)))" + GO_ON))

    await asyncio.gather(*(through(made, Asked(b"/%d" % n), end) for n in range(100)))

    assert sorted(one.target for one in end.seen) == sorted(b"/%d" % n for n in range(100))


# -- log, outputs, clocks --


async def test_guest_writes_to_the_log(make: Make, capfd: pytest.CaptureFixture[str]) -> None:
    log = "(if (call $log_enabled (i32.const {0})) (then (call $log (i32.const {0}) (i32.const {1}) (i32.const 4))))"
    calls = "".join(log.format(level, at) for level, at in ((-1, 0), (0, 8), (1, 16), (2, 24), (3, 32)))
    await through(
        await make(module(calls + GO_ON, texts={0: "bugs", 8: "info", 16: "warn", 24: "fail", 32: "none"})), Asked()
    )

    lines = [line.split("scope")[0] for line in capfd.readouterr().out.splitlines()]
    assert [line.split("level=")[1].split(" ")[:2] for line in lines] == [
        ["info", "msg=info"],
        ["warning", "msg=warn"],
        ["error", "msg=fail"],
    ]


WASI = "wasi_snapshot_preview1"


@pytest.fixture
def verbose() -> Iterator[None]:
    before = logging._output.level
    logging._output.level = logging.DEBUG
    yield
    logging._output.level = before


async def test_outputs_go_to_the_log_per_request(make: Make, verbose: None, capfd: pytest.CaptureFixture[str]) -> None:
    write = f'(import "{WASI}" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))'
    request = "(drop (call $fd_write (i32.const {}) (i32.const 0) (i32.const 2) (i32.const 64)))"
    texts = {0: "\\20\\00\\00\\00\\03\\00\\00\\00\\28\\00\\00\\00\\02\\00\\00\\00", 32: "abc", 40: "de"}
    made = await make(module(request.format(1) + request.format(2) + GO_ON, imports=write, texts=texts))

    await through(made, Asked())
    await through(made, Asked())

    out = capfd.readouterr().out
    assert out.count('msg="wasm stdout: abcde"') == out.count('msg="wasm stderr: abcde"') == 2


TIME = (
    f'(import "{WASI}" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))'
    f'(import "{WASI}" "random_get" (func $random (param i32 i32) (result i32)))'
)
TELL = (
    "(drop (call $time (i32.const 1) (i64.const 0) (i32.const 4096)))"
    "(drop (call $time (i32.const 1) (i64.const 0) (i32.const 4104)))"
    "(drop (call $random (i32.const 4112) (i32.const 8)))" + TO_BODY.format("(i32.const 24)") + ANSWERED
)


async def test_strict_sandbox_makes_time_and_chance_up(make: Make) -> None:
    code = module(TELL, imports=TIME)
    one = (await through(await make(code, strict_sandbox=True), Asked())).sent
    two = (await through(await make(code, strict_sandbox=True), Asked())).sent
    free = (await through(await make(code), Asked())).sent

    assert one == two != free
    assert one[:16] == (0).to_bytes(8, "little") + (1_000_000).to_bytes(8, "little")
    assert int.from_bytes(free[:8], "little") <= int.from_bytes(free[8:16], "little") != 1_000_000


@pytest.mark.parametrize(("strict", "milliseconds"), [(False, 1), (True, 3_600_000)])
async def test_guest_may_sleep_a_little(make: Make, strict: bool, milliseconds: int) -> None:
    poll = f'(import "{WASI}" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))'
    request = (
        "(i64.store (i32.const 0) (i64.const 7)) (i32.store (i32.const 16) (i32.const 1))"
        f"(i64.store (i32.const 24) (i64.const {milliseconds * 1_000_000}))"
        "(drop (call $poll (i32.const 0) (i32.const 4096) (i32.const 1) (i32.const 4128)))"
    )
    made = await make(
        module(request + TO_BODY.format("(i32.const 36)") + ANSWERED, imports=poll), strict_sandbox=strict
    )

    sent = (await through(made, Asked())).sent

    assert sent == (7).to_bytes(8, "little") + bytes(24) + (1).to_bytes(4, "little")


# -- guests that cannot start --


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (module(start="unreachable"), "error instantiating guest: .*unreachable"),
        (module(imports='(import "other" "thing" (func $thing))'), "error instantiating guest: .*other"),
        (module(start="(drop (call $get_method (i32.const 0) (i32.const 9)))"), "no request while the guest starts"),
        (b"\0asm\1\0\0\0", r"guest doesn't export func\[handle_request\]"),
        (b"\0asm\1\0\0\0\xff", "error compiling guest"),
    ],
)
async def test_guest_that_cannot_start_ends_the_start(make: Make, code: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"wasm: .*{reason}"):
        await make(code)


@pytest.mark.parametrize(
    ("url", "error", "reason"),
    [
        ("nothing", ValueError, "invalid URL: nothing"),
        ("oci://a/b", ValueError, "images"),
        ("ldap://a/b", ValueError, "unsupported URL scheme: ldap"),
        ("file:///nothing/there.wasm", OSError, "No such file"),
        (f"file://{__file__}", ValueError, "no WebAssembly module"),
    ],
)
async def test_module_that_cannot_be_had_ends_the_start(url: str, error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        await Wasm(Options(url=url)).open()


async def test_module_comes_over_http(web: Web) -> None:
    web.pages["/guest.wasm"] = (200, "application/wasm", module().decode("latin-1"))
    made = Wasm(Options(url=f"{web.url}/guest.wasm"))
    await made.open()
    assert (await through(made, Asked(body=b"x"))).sent == b"x"
    await made.close()

    with pytest.raises(ValueError, match="received 404 status code"):
        await Wasm(Options(url=f"{web.url}/other.wasm")).open()


def test_options_have_the_names_of_the_original() -> None:
    given = {"URL": "file:///a", "guestConfig": "x", "strictSandbox": "true"}

    assert read(Options, given) == Options(url="file:///a", guest_config="x", strict_sandbox=True)
