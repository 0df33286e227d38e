"""How a job comes to an app over HTTP and gRPC."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from google.protobuf import any_pb2, struct_pb2, wrappers_pb2

from pydapr.app import jobs
from pydapr.app.channel import Answer, AppChannel, AppUnreachable, Call, Header
from pydapr.app.grpc import ALPHA_CALLBACK, CALLBACK, GrpcApp
from pydapr.errors import Code, RpcError
from pydapr.net.body import Body
from pydapr.proto.dapr.proto.runtime.v1 import appcallback_pb2


class Channel(AppChannel):
    def __init__(self, status: int = 200) -> None:
        self.calls: list[tuple[bytes, str, bytes]] = []
        self._status = status

    async def invoke(self, call: Call) -> Answer:
        self.calls.append((call.verb, call.method, await call.body.read_all()))
        if not self._status:
            raise AppUnreachable("connection refused")
        return Answer(self._status, (), Body.of(b"whatever"))

    def close(self) -> None:
        pass

    def retire(self) -> None:
        pass


def value(of: object) -> tuple[str, bytes]:
    """Type and bytes of data that were given as JSON."""
    made = struct_pb2.Value()
    if isinstance(of, dict):
        made.struct_value.update(of)
    elif isinstance(of, list):
        made.list_value.SetInParent()
        made.list_value.extend(of)
    elif isinstance(of, bool):
        made.bool_value = of
    elif isinstance(of, str):
        made.string_value = of
    elif isinstance(of, int | float):
        made.number_value = of
    else:
        made.null_value = struct_pb2.NULL_VALUE
    packed = any_pb2.Any()
    packed.Pack(made)
    return packed.type_url, packed.value


@pytest.mark.parametrize(
    ("given", "body"),
    [
        ({"b": 1, "a": [1.5, None, True]}, b'{"a":[1.5,null,true],"b":1}'),
        ("<ü>", '"<ü>"'.encode()),
        (123, b"123"),
        (-1e20, b"-100000000000000000000"),
        (1e300, b"1e+300"),
        (True, b"true"),
        (None, b"null"),
        ([], b"[]"),
    ],
)
async def test_json_comes_as_json(given: object, body: bytes) -> None:
    channel = Channel()

    code = await jobs.HttpApp(lambda: channel).trigger("j", *value(given))

    assert code == Code.OK
    assert channel.calls == [(b"POST", "job/j", body)]


def test_other_data_come_as_they_are_without_white_space_around() -> None:
    text = any_pb2.Any()
    text.Pack(wrappers_pb2.StringValue(value="hello"))

    assert jobs.body(text.type_url, text.value) == b"\x05hello"
    assert jobs.body("x/y", "\u2003 {}\xa0\n".encode()) == b"{}"
    assert jobs.body("x/y", b" \xff\x1c ") == b"\xff\x1c"
    assert jobs.body("", b"") == b""
    assert jobs.body(jobs.VALUE, b"") == b""


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_json_is_told(number: float) -> None:
    with pytest.raises(jobs.Failed, match="no JSON value"):
        jobs.body(*value(number))
    with pytest.raises(jobs.Failed, match="no JSON value"):
        jobs.body(jobs.VALUE, b"\xff")


@pytest.mark.parametrize(
    ("name", "method"), [("/j", "job/j"), ("a b", "job/a b"), ("100%", "job/100%25"), ("a%20b", "job/a%2520b")]
)
async def test_a_name_is_a_path(name: str, method: str) -> None:
    channel = Channel()

    await jobs.HttpApp(lambda: channel).trigger(name, "", b"")

    assert channel.calls == [(b"POST", method, b"")]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (200, Code.OK),
        (204, Code.OK),
        (404, Code.NOT_FOUND),
        (302, Code.UNKNOWN),
        (400, Code.UNKNOWN),
        (500, Code.UNKNOWN),
    ],
)
async def test_what_a_status_means(status: int, code: Code) -> None:
    assert await jobs.HttpApp(lambda: Channel(status)).trigger("j", "", b"") == code


async def test_an_app_that_is_not_there() -> None:
    with pytest.raises(jobs.Failed, match="app channel not initialized"):
        await jobs.HttpApp(lambda: None).trigger("j", "", b"")
    with pytest.raises(jobs.Failed, match="connection refused"):
        await jobs.HttpApp(lambda: Channel(0)).trigger("j", "", b"")


class Rpc(GrpcApp):
    """An app that answers by the names of methods; OK to those that it has no code for."""

    def __init__(self, codes: Mapping[bytes, Code]) -> None:
        self.codes = dict(codes)
        self.calls: list[tuple[bytes, appcallback_pb2.JobEventRequest]] = []
        self.under_way = self.most = 0

    async def callback(
        self, name: bytes, message: bytes, metadata: Sequence[Header] = (), service: bytes = CALLBACK
    ) -> bytes:
        self.calls.append((service + name, appcallback_pb2.JobEventRequest.FromString(message)))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        if name in self.codes:
            raise RpcError(self.codes[name], "no")
        return b""


@pytest.mark.plain
async def test_a_grpc_app_is_told_everything() -> None:
    app = Rpc({})

    assert await jobs.RpcApp(app).trigger("a b", "t/x", b"data") == Code.OK

    [(path, request)] = app.calls
    assert path == CALLBACK + b"OnJobEvent"
    assert (request.name, request.method, request.content_type) == ("a b", "job/a b", "t/x")
    assert (request.data.type_url, request.data.value) == ("t/x", b"data")
    assert request.http_extension.verb == request.http_extension.POST


@pytest.mark.plain
async def test_an_older_app_has_the_older_method_and_is_asked_for_the_other_no_more() -> None:
    app = Rpc({b"OnJobEvent": Code.UNIMPLEMENTED})
    target = jobs.RpcApp(app)

    assert [await target.trigger("j", "", b"") for _ in range(2)] == [Code.OK, Code.OK]
    older = ALPHA_CALLBACK + b"OnJobEventAlpha1"
    assert [path for path, _ in app.calls] == [CALLBACK + b"OnJobEvent", older, older]

    app.codes = {b"OnJobEventAlpha1": Code.UNIMPLEMENTED}  # the app was started anew, as another version
    assert await target.trigger("j", "", b"") == Code.OK
    assert app.calls[-1][0] == CALLBACK + b"OnJobEvent"


@pytest.mark.plain
async def test_an_older_app_takes_several_at_once() -> None:
    target = jobs.RpcApp(Rpc({b"OnJobEvent": Code.UNIMPLEMENTED}))

    codes = await asyncio.gather(*(target.trigger(str(number), "", b"") for number in range(4)))

    assert codes == [Code.OK] * 4


@pytest.mark.plain
@pytest.mark.parametrize("code", [Code.NOT_FOUND, Code.ABORTED, Code.UNAVAILABLE])
async def test_the_code_of_a_grpc_app_is_passed_on(code: Code) -> None:
    assert await jobs.RpcApp(Rpc({b"OnJobEvent": code})).trigger("j", "", b"") == code


@pytest.mark.plain
async def test_a_grpc_app_gets_no_more_at_a_time_than_it_wants() -> None:
    app = Rpc({})
    target = jobs.RpcApp(app, asyncio.Semaphore(2))

    await asyncio.gather(*(target.trigger(str(number), "", b"") for number in range(6)))

    assert app.most == 2
