"""Every binding runs through these cases; a new one needs its entry in `BINDINGS`, an output one a scenario too.

What holds for every input binding stands first. What an output binding does is its own: see below `OUTPUTS`.
"""

import asyncio
import base64
import contextlib
import functools
import getpass
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.conformance import (
    binding_servers,
    kafka_servers,
    message_servers,
    mysql_servers,
    postgresql_servers,
    redis_servers,
    servers,
)

from pydapr import components
from pydapr.components import Part
from pydapr.components.bindings import (
    Answer,
    BindingError,
    Event,
    Handler,
    InputBinding,
    NotProcessed,
    OutputBinding,
    Reading,
    Request,
)
from pydapr.components.drivers.sql_bindings import SqlBinding

SECONDS = 20.0
"""How long anything may take that does not happen at once."""


@dataclass
class Ready:
    """A binding that can be opened. `restart` ends its server and starts it again with what it had."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    restart: Callable[[], Awaitable[None]] | None = None
    comes_by_itself: bool = False
    """Whether events come without anybody sending them; else what is sent by `create` comes back as an event."""
    metadata_to_send: Mapping[str, str] = field(default_factory=dict)
    redelivers: bool = False
    """Whether an event that was not processed comes again."""
    server: Any = None


Serve = Callable[[Path], contextlib.AbstractContextManager[Ready]]
"""Makes a binding ready, with a folder for its files; raises `pytest.skip` where its server is not at hand."""


def _restart(restart: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    return functools.partial(asyncio.to_thread, restart)


@contextlib.contextmanager
def cron(folder: Path) -> Iterator[Ready]:
    yield Ready({"schedule": "@every 50ms"}, comes_by_itself=True)


@contextlib.contextmanager
def http(folder: Path) -> Iterator[Ready]:
    url = servers.shared(binding_servers.echo)
    yield Ready({"url": f"{url}/", "securityToken": "abc", "securityTokenHeader": "X-Token", "errorIfNot2XX": ""})


@contextlib.contextmanager
def localstorage(folder: Path) -> Iterator[Ready]:
    yield Ready({"rootPath": str(folder / "below" / "files")}, server=folder)


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[Ready]:
    metadata, restart = postgresql_servers.first_version()
    yield Ready(metadata, _restart(restart))


@contextlib.contextmanager
def mysql(folder: Path) -> Iterator[Ready]:
    one = servers.shared(mysql_servers.server)
    one.sql("CREATE DATABASE IF NOT EXISTS bound")
    yield Ready({"url": f"dapr:{mysql_servers.PASSWORD}@tcp(127.0.0.1:{one.port})/bound"}, _restart(one.restart))


@contextlib.contextmanager
def smtp(folder: Path) -> Iterator[Ready]:
    one = servers.shared(binding_servers.smtp)
    metadata = {"host": "127.0.0.1", "port": str(one.port), "user": "user", "password": "secret"}
    yield Ready({**metadata, "emailFrom": "me@example.org", "subject": "News"}, server=one)


@contextlib.contextmanager
def sftp(folder: Path) -> Iterator[Ready]:
    one = servers.shared(binding_servers.sftp)
    metadata = {
        "address": f"127.0.0.1:{one.port}", "username": getpass.getuser(), "rootPath": f"{one.place}/files",
        "privateKey": (one.place / "user").read_text(), "hostPublicKey": (one.place / "host.pub").read_text(),
    }  # fmt: skip
    yield Ready(metadata, _restart(one.restart), server=one)


@contextlib.contextmanager
def graphql(folder: Path) -> Iterator[Ready]:
    url = servers.shared(binding_servers.echo)
    yield Ready({"endpoint": f"{url}/graphql", "header:X-Token": "abc"})


@contextlib.contextmanager
def mosquitto(folder: Path) -> Iterator[Ready]:
    metadata, restart = servers.shared(message_servers.mosquitto)
    name = uuid4().hex
    yield Ready({**metadata, "topic": f"events/{name}", "consumerID": name, "backOffMaxRetries": "1"},
                _restart(restart), redelivers=True)  # fmt: skip


@contextlib.contextmanager
def rabbitmq(folder: Path) -> Iterator[Ready]:
    metadata, restart = servers.shared(message_servers.rabbitmq)
    given = {"host": metadata["connectionString"], "queueName": f"events-{uuid4().hex}", "durable": "true"}
    yield Ready({**given, "reconnectWaitInSeconds": "100ms"}, _restart(restart), redelivers=True)


@contextlib.contextmanager
def kafka(folder: Path) -> Iterator[Ready]:
    metadata, restart = servers.shared(kafka_servers.alone)
    name = uuid4().hex
    given = {**metadata, "topics": f"events-{name}", "publishTopic": f"events-{name}", "consumerGroup": name}
    retry = {"consumeRetryEnabled": "true", "backOffDuration": "100ms"}
    yield Ready({**given, **retry}, _restart(restart), redelivers=True)


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[Ready]:
    metadata, restart = servers.shared(redis_servers.alone)
    yield Ready(metadata, _restart(restart))


@contextlib.contextmanager
def redis_cluster(folder: Path) -> Iterator[Ready]:
    metadata, restart = servers.shared(redis_servers.cluster)
    yield Ready(metadata, _restart(restart))


BINDINGS: dict[str, Sequence[Serve]] = {
    "bindings.cron": [cron],
    "bindings.graphql": [graphql],
    "bindings.http": [http],
    "bindings.kafka": [kafka],
    "bindings.localstorage": [localstorage],
    "bindings.mqtt3": [mosquitto],
    "bindings.mysql": [mysql],
    "bindings.postgres": [postgres],
    "bindings.rabbitmq": [rabbitmq],
    "bindings.redis": [redis, redis_cluster],
    "bindings.sftp": [sftp],
    "bindings.smtp": [smtp],
}
INPUTS = ("bindings.cron", "bindings.kafka", "bindings.mqtt3", "bindings.rabbitmq")
"""Those that call the app."""

_CASES = {f"{type_}-{serve.__name__}": (type_, serve) for type_, all_ in BINDINGS.items() for serve in all_}
all_bindings = pytest.mark.parametrize(("type_", "serve"), _CASES.values(), ids=_CASES.keys())
_INPUTS = {name: case for name, case in _CASES.items() if case[0] in INPUTS}
input_bindings = pytest.mark.parametrize(("type_", "serve"), _INPUTS.values(), ids=_INPUTS.keys())


def only(serve: Serve) -> pytest.MarkDecorator:
    """Marks a scenario of one binding."""
    name, case = next((name, case) for name, case in _CASES.items() if case[1] is serve)
    return pytest.mark.parametrize(("type_", "serve"), [case], ids=[name])


@pytest.fixture
def ready(type_: str, serve: Serve, tmp_path: Path) -> Iterator[Ready]:
    with serve(tmp_path) as one:
        yield one


@pytest.fixture
async def part(type_: str, ready: Ready) -> AsyncIterator[Part]:
    made = make(type_, ready.metadata)
    await made.open()
    yield made
    await made.close()


def make(type_: str, metadata: Mapping[str, str]) -> Part:
    name, _, version = type_.partition("/")
    found = components.find(name, version)
    assert found is not None
    made = found.make(components.read(found.options, metadata))
    assert isinstance(made, InputBinding | OutputBinding)
    return made


@pytest.fixture
def binding(part: Part) -> OutputBinding:
    assert isinstance(part, OutputBinding)
    return part


async def until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.01)


# -- all --


@all_bindings
async def test_it_has_a_direction_and_says_what_it_can_do(type_: str, part: Part) -> None:
    assert isinstance(part, InputBinding) == (type_ in INPUTS)
    if isinstance(part, OutputBinding):
        assert part.operations and len(set(part.operations)) == len(part.operations)


@all_bindings
async def test_closing_twice_does_no_harm(type_: str, ready: Ready) -> None:
    made = make(type_, ready.metadata)
    await made.open()

    await made.close()
    await made.close()


@all_bindings
async def test_one_that_was_never_opened_can_be_closed(type_: str, ready: Ready) -> None:
    await make(type_, ready.metadata).close()


# -- input --


class App:
    """Takes events, once it `is_open`; `refuses` as many of the first."""

    def __init__(self, refuses: int = 0) -> None:
        self.seen: list[Event] = []
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.under_way = self.done = 0
        self._refuses = refuses

    async def handle(self, event: Event) -> bytes:
        self.seen.append(event)
        self.under_way += 1
        try:
            await self.is_open.wait()
        finally:
            self.under_way -= 1
        if self._refuses:
            self._refuses -= 1
            raise NotProcessed("not now")
        self.done += 1
        return b""

    def has(self, data: bytes) -> bool:
        return any(event.data == data for event in self.seen)


async def read(part: Part, handler: Handler) -> Reading:
    assert isinstance(part, InputBinding)
    return await part.read(handler)


async def send(part: Part, ready: Ready, data: bytes) -> None:
    """Has an event with `data` come, if it does not come by itself."""
    if not ready.comes_by_itself:
        assert isinstance(part, OutputBinding)
        await part.invoke(Request("create", data, ready.metadata_to_send))


@input_bindings
async def test_events_come_to_the_handler(part: Part, ready: Ready) -> None:
    app, data = App(), uuid4().hex.encode()
    reading = await read(part, app.handle)

    await send(part, ready, data)

    await until(lambda: len(app.seen) >= 2 if ready.comes_by_itself else app.has(data))
    await reading.close()


@input_bindings
async def test_an_event_that_was_not_processed_comes_again_where_the_source_can(part: Part, ready: Ready) -> None:
    if not ready.redelivers:
        pytest.skip("its source does not deliver again")
    app, data = App(refuses=1), uuid4().hex.encode()
    reading = await read(part, app.handle)

    await send(part, ready, data)

    await until(lambda: app.done > 0)
    assert [event.data for event in app.seen].count(data) >= 2
    await reading.close()


@input_bindings
async def test_closing_waits_for_events_under_way_and_takes_no_other(part: Part, ready: Ready) -> None:
    app = App()
    app.is_open.clear()
    reading = await read(part, app.handle)
    await send(part, ready, b"first")
    await until(lambda: app.under_way > 0)

    closing = asyncio.create_task(reading.close())
    done, _ = await asyncio.wait((closing,), timeout=0.3)
    assert not done
    app.is_open.set()
    await asyncio.wait_for(closing, SECONDS)

    assert app.under_way == 0
    count = len(app.seen)
    await asyncio.sleep(0.3)
    assert len(app.seen) == count


@input_bindings
async def test_a_close_that_is_cancelled_cancels_what_is_under_way(part: Part, ready: Ready) -> None:
    app = App()
    app.is_open.clear()
    reading = await read(part, app.handle)
    await send(part, ready, b"first")
    await until(lambda: app.under_way > 0)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reading.close(), 0.2)

    assert app.under_way == 0


@input_bindings
async def test_it_can_be_read_again(part: Part, ready: Ready) -> None:
    first, second, data = App(), App(), uuid4().hex.encode()
    await (await read(part, first.handle)).close()

    reading = await read(part, second.handle)
    await send(part, ready, data)

    await until(lambda: bool(second.seen))
    await reading.close()


@input_bindings
async def test_reading_goes_on_when_its_server_is_back(part: Part, ready: Ready) -> None:
    if ready.restart is None:
        pytest.skip("there is no server of its own")
    app = App()
    reading = await read(part, app.handle)

    await ready.restart()

    end = asyncio.get_running_loop().time() + SECONDS
    while not app.seen:
        assert asyncio.get_running_loop().time() < end
        with contextlib.suppress(BindingError):
            await send(part, ready, b"again")
        await asyncio.sleep(0.1)
    await reading.close()


# -- OUTPUTS: a scenario each --


async def ask(binding: OutputBinding, operation: str, data: bytes = b"", **metadata: str) -> Answer:
    answer = await binding.invoke(Request(operation, data, metadata))
    assert answer is not None
    return answer


@only(http)
@pytest.mark.parametrize("operation", ["get", "head", "post", "put", "patch", "delete", "options", "trace", "create"])
async def test_http_method_path_and_fields(binding: OutputBinding, operation: str) -> None:
    metadata = {"path": "/a b/c?d=1", "X-Mine": "yes", "lower": "no", "traceparent": "00-ab"}

    answer = await binding.invoke(Request(operation, b'{"a":1}', metadata))

    assert answer is not None
    assert answer.metadata["statusCode"] == "200" and answer.metadata["status"] == "200 OK"
    assert answer.metadata["X-Many"] == "a, b"
    if operation == "head":
        assert answer.data == b""
        return
    told = json.loads(answer.data)
    assert told["method"] == ("POST" if operation == "create" else operation.upper())
    assert told["path"] == "/a%20b/c?d=1"
    assert told["headers"]["x-mine"] == "yes" and "lower" not in told["headers"]
    assert told["headers"]["x-token"] == "abc" and told["headers"]["traceparent"] == "00-ab"
    has_body = operation in ("create", "post", "put", "patch")
    assert told["body"] == ('{"a":1}' if has_body else "")
    assert told["headers"].get("content-type") == ("application/json; charset=utf-8" if has_body else None)


@only(http)
async def test_http_other_status_is_an_error_that_tells_it_unless_it_is_not_wanted(binding: OutputBinding) -> None:
    with pytest.raises(BindingError, match="received status code 404") as raised:
        await ask(binding, "get", path="status/404")
    answer = await ask(binding, "get", path="status/404", errorIfNot2XX="false")

    assert raised.value.metadata["statusCode"] == answer.metadata["statusCode"] == "404"


@only(http)
async def test_http_redirects_are_followed(binding: OutputBinding) -> None:
    told = json.loads((await ask(binding, "post", b"1", path="move")).data)

    assert (told["method"], told["path"]) == ("GET", "/moved")


@only(http)
async def test_http_what_is_for_one_server_stays_there(ready: Ready) -> None:
    made = make("bindings.http", {**ready.metadata, "url": ready.metadata["url"].replace("//", "//me:p%20w@")})
    assert isinstance(made, OutputBinding)
    await made.open()

    near = json.loads((await ask(made, "get", path="move", Cookie="a=b", Accept="x/y")).data)["headers"]
    far = json.loads((await ask(made, "get", path="away", Cookie="a=b", Accept="x/y")).data)["headers"]
    await made.close()

    assert (near["cookie"], near["x-token"], near["accept"]) == ("a=b", "abc", "x/y")
    assert far["accept"] == "x/y" and not {"cookie", "x-token", "authorization"} & far.keys()


@only(http)
async def test_http_a_login_in_the_url(ready: Ready) -> None:
    made = make("bindings.http", {"url": ready.metadata["url"].replace("//", "//me:p%20w@")})
    assert isinstance(made, OutputBinding)
    await made.open()

    own = json.loads((await ask(made, "get")).data)["headers"]
    given = json.loads((await ask(made, "get", Authorization="mine")).data)["headers"]
    await made.close()

    assert own["authorization"] == f"Basic {base64.b64encode(b'me:p w').decode()}"
    assert given["authorization"] == "mine"


@only(http)
async def test_http_no_field_changes_where_a_request_goes_and_ends(binding: OutputBinding, ready: Ready) -> None:
    metadata = {
        "Host": "elsewhere", "Content-Length": "1", "Transfer-Encoding": "chunked", "Connection": "upgrade",
        "X-Mine: 1\r\nX-Other": "2",
    }  # fmt: skip

    told = json.loads((await ask(binding, "post", b"hello", **metadata)).data)

    headers = told["headers"]
    assert told["body"] == "hello" and headers["content-length"] == "5" and headers["host"] in ready.metadata["url"]
    assert not {"transfer-encoding", "connection", "x-mine", "x-other"} & headers.keys()
    with pytest.raises(BindingError, match="holds what none may"):
        await ask(binding, "post", b"hello", **{"X-Mine": "1\r\nX-Other: 2"})


@only(http)
async def test_http_the_time_is_that_of_all_redirects_together(ready: Ready) -> None:
    made = make("bindings.http", {**ready.metadata, "responseTimeout": "300ms"})
    assert isinstance(made, OutputBinding)
    await made.open()

    with pytest.raises(BindingError, match="no answer within"):
        await ask(made, "get", path="round")
    await made.close()


@only(http)
@pytest.mark.parametrize("url", ["htp://me:secret@here/?key=secret", "http://me:secret@here:x/?key=secret"])
async def test_http_an_error_tells_no_secret_of_the_url(url: str, ready: Ready) -> None:
    made = make("bindings.http", {"url": url})
    assert isinstance(made, OutputBinding)
    await made.open()

    with pytest.raises(BindingError, match="is no http") as raised:
        await ask(made, "get")
    await made.close()

    assert "secret" not in str(raised.value)


@only(http)
async def test_http_long_answers_are_cut_off(ready: Ready) -> None:
    made = make("bindings.http", {**ready.metadata, "maxResponseBodySize": "10"})
    assert isinstance(made, OutputBinding)
    await made.open()

    assert len((await ask(made, "get")).data) == 10
    assert len((await ask(made, "get")).data) == 10
    await made.close()


@only(http)
async def test_http_nobody_listens(ready: Ready) -> None:
    [port] = servers.free_ports(1)
    made = make("bindings.http", {"url": f"http://127.0.0.1:{port}"})
    assert isinstance(made, OutputBinding)
    await made.open()

    with pytest.raises(BindingError, match="connection refused"):
        await ask(made, "get")
    await made.close()


@only(http)
@pytest.mark.parametrize("as_files", [True, False])
async def test_http_tls_with_a_certificate_of_ones_own(ready: Ready, as_files: bool) -> None:
    server = servers.shared(binding_servers.secure_echo)
    pem, key = (f"{server.place}/own.pem", f"{server.place}/own.key") if as_files else (server.certificate, server.key)
    metadata = {"url": server.url, "MTLSRootCA": pem, "MTLSClientCert": pem, "MTLSClientKey": key}
    made = make("bindings.http", {**metadata, "MTLSRenegotiation": "RenegotiateNever"})
    assert isinstance(made, OutputBinding)
    await made.open()

    assert (await ask(made, "get")).metadata["statusCode"] == "200"
    await made.close()


@only(http)
@pytest.mark.parametrize("left_out", ["MTLSRootCA", "MTLSClientCert"])
async def test_http_tls_needs_trust_on_both_sides(ready: Ready, left_out: str) -> None:
    server = servers.shared(binding_servers.secure_echo)
    metadata = {"MTLSRootCA": server.certificate, "MTLSClientCert": server.certificate, "MTLSClientKey": server.key}
    made = make("bindings.http", {"url": server.url, **metadata, left_out: ""})
    assert isinstance(made, OutputBinding)
    await made.open()

    with pytest.raises(BindingError):
        await ask(made, "get")
    await made.close()


@only(http)
@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"MTLSRootCA": "/does/not/exist"}, 'provided "MTLSRootCA" value is neither a valid file path'),
        ({"MTLSRenegotiation": "Sometimes"}, "invalid renegotiation value: Sometimes"),
        ({"maxResponseBodySize": "much"}, "invalid value for maxResponseBodySize"),
        ({"url": ""}, "metadata property url is required"),
    ],
)
async def test_http_metadata_that_cannot_be(ready: Ready, metadata: dict[str, str], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        await make("bindings.http", {**ready.metadata, **metadata}).open()


@only(localstorage)
async def test_localstorage_files_come_and_go(binding: OutputBinding, ready: Ready) -> None:
    root = f"{ready.server}/below/files"
    made = await ask(binding, "create", b'"hello \\u00fc"', fileName="a/b.txt")
    named = await ask(binding, "create", base64.b64encode(b"\x00\xff"))

    assert json.loads(made.data) == {"fileName": "a/b.txt"}
    assert (await ask(binding, "get", fileName="a/b.txt")).data == "hello ü".encode()
    name = json.loads(named.data)["fileName"]
    assert (await ask(binding, "get", fileName=name)).data == b"\x00\xff"
    assert json.loads((await ask(binding, "list")).data) == sorted([f"{root}/a/b.txt", f"{root}/{name}"])
    assert await binding.invoke(Request("delete", metadata={"fileName": "a/b.txt"})) is None
    with pytest.raises(BindingError, match=f"file not found: {root}/a/b.txt"):
        await ask(binding, "get", fileName="a/b.txt")
    with pytest.raises(BindingError, match="not a directory"):
        await ask(binding, "list", fileName=name)


@only(localstorage)
async def test_localstorage_no_name_leads_out(binding: OutputBinding, ready: Ready) -> None:
    root = ready.server / "below" / "files"
    (ready.server / "secret").write_text("secret")
    (root / "up").symlink_to("../../")
    (root / "away").symlink_to(ready.server / "secret")

    for name in ("../../secret", "/../../secret", "up/secret", "away", str(ready.server / "secret")):
        with pytest.raises(BindingError, match="file not found"):
            await ask(binding, "get", fileName=name)
        await ask(binding, "create", b"not theirs", fileName=name)
        assert (await ask(binding, "get", fileName=name)).data == b"not theirs"
        await binding.invoke(Request("delete", metadata={"fileName": name}))
    assert (ready.server / "secret").read_text() == "secret"


@only(localstorage)
@pytest.mark.parametrize("name", ["a" * 300, "a/" * 2500, "a\0b"])
async def test_localstorage_names_that_no_file_can_have(binding: OutputBinding, name: str) -> None:
    for operation in ("create", "get", "delete", "list"):
        with pytest.raises(BindingError):
            await ask(binding, operation, b"x", fileName=name)


@only(localstorage)
async def test_localstorage_a_pipe_holds_nobody_up(binding: OutputBinding, ready: Ready) -> None:
    os.mkfifo(ready.server / "below" / "files" / "pipe")

    with pytest.raises(BindingError, match="error creating file"):
        await asyncio.wait_for(ask(binding, "create", b"x", fileName="pipe"), SECONDS)
    assert (await asyncio.wait_for(ask(binding, "get", fileName="pipe"), SECONDS)).data == b""


@only(localstorage)
@pytest.mark.parametrize("path", ["/proc/x", "/sys", "/var/run/secrets/kubernetes.io", ""])
async def test_localstorage_some_folders_are_refused(path: str, ready: Ready) -> None:
    with pytest.raises(ValueError, match=r"disallowed location|must not be empty"):
        await make("bindings.localstorage", {"rootPath": path}).open()


@only(kafka)
async def test_kafka_keys_and_headers_arrive(part: Part, binding: OutputBinding) -> None:
    app = App()
    reading = await read(part, app.handle)

    assert await binding.invoke(Request("create", b"data", {"partitionKey": "k", "colour": "blue"})) is None

    await until(lambda: bool(app.seen))
    told = app.seen[0].metadata
    assert (app.seen[0].data, told["__key"], told["colour"]) == (b"data", "k", "blue")
    assert {"__offset", "__partition", "__timestamp", "__topic"} <= told.keys()
    await reading.close()


@only(kafka)
async def test_kafka_an_event_is_skipped_where_it_is_not_to_be_tried_again(ready: Ready) -> None:
    made, app = make("bindings.kafka", {**ready.metadata, "consumeRetryEnabled": "false"}), App(refuses=1)
    await made.open()
    reading = await read(made, app.handle)

    await send(made, ready, b"refused")
    await send(made, ready, b"taken")

    await until(lambda: app.done == 1)
    assert [event.data for event in app.seen] == [b"refused", b"taken"]
    await reading.close()
    await made.close()


@only(kafka)
async def test_kafka_needs_a_group_to_read_and_a_topic_to_write(ready: Ready) -> None:
    for missing, text in (("consumerGroup", "consumerGroup is required"), ("publishTopic", "publishTopic is required")):
        made = make("bindings.kafka", {**ready.metadata, missing: ""})
        await made.open()
        with pytest.raises(BindingError, match=text):
            await (read(made, App().handle) if missing == "consumerGroup" else send(made, ready, b"data"))
        await made.close()


@only(redis)
async def test_redis_values_come_and_go(binding: OutputBinding) -> None:
    key = uuid4().hex

    assert await binding.invoke(Request("create", b"\x00value", {"key": key})) is None
    assert (await ask(binding, "get", key=key)).data == b"\x00value"
    assert (await ask(binding, "get", key=key, delete="true")).data == b"\x00value"
    assert (await ask(binding, "get", key=key)).data == b""
    for _ in range(2):
        assert await binding.invoke(Request("increment", metadata={"key": key})) is None
    assert (await ask(binding, "get", key=key)).data == b"2"
    assert await binding.invoke(Request("delete", metadata={"key": key})) is None
    assert (await ask(binding, "get", key=key)).data == b""


@only(redis)
@pytest.mark.parametrize("operation", ["create", "increment"])
async def test_redis_values_end(binding: OutputBinding, operation: str) -> None:
    key = uuid4().hex

    await binding.invoke(Request(operation, b"1", {"key": key, "ttlInSeconds": "1"}))

    assert (await ask(binding, "get", key=key)).data == b"1"
    end = asyncio.get_running_loop().time() + SECONDS
    while (await ask(binding, "get", key=key)).data:
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.05)


@only(redis)
@pytest.mark.parametrize(
    ("operation", "metadata", "text"),
    [
        ("get", {}, "redis binding: missing key in request metadata"),
        ("list", {"key": "k"}, "invalid operation type: list"),
        ("create", {"key": "k", "ttlInSeconds": "soon"}, "ttl value must be a valid integer: actual is 'soon'"),
        ("create", {"key": "k", "ttlInSeconds": "-1"}, "ttl value must be higher than zero: actual is '-1'"),
        ("increment", {"key": "binding-text"}, "ERR value is not an integer"),
    ],
)
async def test_redis_faults(binding: OutputBinding, operation: str, metadata: dict[str, str], text: str) -> None:
    await binding.invoke(Request("create", b"text", {"key": "binding-text"}))

    with pytest.raises(BindingError, match=text):
        await binding.invoke(Request(operation, b"1", metadata))


@only(postgres)
async def test_postgres_statements(binding: OutputBinding) -> None:
    table = f"t{uuid4().hex}"
    types = "id int, name text, amount numeric, at timestamptz, about jsonb, raw bytea, on_ boolean, day date"
    await ask(binding, "exec", sql=f"CREATE TABLE {table} ({types})")
    params = [1, "it's", "12.50", "2024-01-02T03:04:05Z", {"a": [1]}, "\\x00ff", True, "2024-01-02"]
    insert = f"INSERT INTO {table} VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"

    done = await ask(binding, "exec", sql=insert, params=json.dumps(params))
    nulls = await ask(binding, "exec", sql=f"INSERT INTO {table} (id) VALUES (2), (3)")
    found = await ask(binding, "query", sql=f"SELECT * FROM {table} WHERE id < $1 ORDER BY id", params="[3]")

    assert (done.metadata["rows-affected"], nulls.metadata["rows-affected"]) == ("1", "2")
    assert done.metadata["operation"] == "exec" and done.metadata["sql"] == insert and done.data == b""
    assert {"start-time", "end-time", "duration"} <= done.metadata.keys()
    first, second = json.loads(found.data)
    assert b"12.50" in found.data
    assert first == [1, "it's", 12.5, "2024-01-02T03:04:05Z", {"a": [1]}, "AP8=", True, "2024-01-02T00:00:00Z"]
    assert second == [2, *[None] * 7]
    none = await ask(binding, "query", sql=f"SELECT 1 FROM {table} WHERE false")
    assert none.data == b"[]"


@only(postgres)
@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("'1 day 2 hours'::interval", b'"26h0m0s"'),
        ("'10:11:12'::time", b'"10:11:12"'),
        ("'10.0.0.1'::inet", b'"10.0.0.1/32"'),
        ("'6f1e0c0e-0d0a-4b3c-9d3e-000000000001'::uuid", b'"6f1e0c0e-0d0a-4b3c-9d3e-000000000001"'),
        ("12345678901234567890.123::numeric", b"12345678901234567890.123"),
        ("ARRAY[1, 2]", b"[1,2]"),
        ("9007199254740993::bigint", b"9007199254740993"),
        ("E'\\u00fc'", '"ü"'.encode()),
    ],
)
async def test_postgres_values(binding: OutputBinding, sql: str, shown: bytes) -> None:
    assert (await ask(binding, "query", sql=f"SELECT {sql}")).data == b"[[" + shown + b"]]"


@only(postgres)
async def test_postgres_what_json_does_not_have(binding: OutputBinding) -> None:
    with pytest.raises(BindingError, match="error serializing results"):
        await ask(binding, "query", sql="SELECT 'NaN'::float8")


@only(postgres)
@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({}, "required metadata not set: sql"),
        ({"sql": "SELECT nothing"}, "error executing query: ERROR: column .* does not exist"),
        ({"sql": "SELECT 1", "params": "{"}, "invalid metadata property params"),
        ({"sql": "SELECT 1", "params": "{}"}, "invalid metadata property params"),
        ({"sql": "SELECT $1::int", "params": '["x"]'}, "error executing query"),
        ({"sql": "SELECT $1::int", "params": "[1, 2]"}, "expected 1 arguments, got 2"),
    ],
)
@pytest.mark.parametrize("operation", ["exec", "query"])
async def test_postgres_faults(binding: OutputBinding, metadata: dict[str, str], text: str, operation: str) -> None:
    with pytest.raises(BindingError, match=text):
        await ask(binding, operation, b"", **metadata)


@only(mysql)
async def test_mysql_statements(binding: OutputBinding) -> None:
    table = f"t{uuid4().hex}"
    types = "id int, name varchar(50), amount decimal(5,2), at datetime, about json, raw blob, day date, t time"
    await ask(binding, "exec", sql=f"CREATE TABLE {table} ({types})")
    params = [1, "100% it's \\ ?", 12.5, "2024-01-02 03:04:05", '{"a":1}', "raw", "2024-01-02", "10:30:00"]
    insert = f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

    done = await ask(binding, "exec", sql=insert, params=json.dumps(params))
    nulls = await ask(binding, "exec", sql=f"INSERT INTO {table} (id, name) VALUES (2, '?'), (3, '%')")
    found = await ask(binding, "query", sql=f"SELECT * FROM {table} WHERE id < ? AND name <> '%?'", params="[3]")

    assert (done.metadata["rows-affected"], nulls.metadata["rows-affected"]) == ("1", "2")
    first, second = json.loads(found.data)
    assert base64.b64decode(first.pop("raw")) == b"raw"
    assert first == {
        "about": '{"a":1}', "id": 1, "name": "100% it's \\ ?", "amount": "12.50", "at": "2024-01-02T03:04:05Z",
        "day": "2024-01-02T00:00:00Z", "t": "10:30:00",
    }  # fmt: skip
    assert second == {"id": 2, "name": "?"}
    none = await ask(binding, "query", sql=f"SELECT 1 FROM {table} WHERE false")
    assert none.data == b"null"


@only(mysql)
@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({}, "required metadata not set: sql"),
        ({"sql": "SELECT nothing"}, "error executing query: Error 1054"),
        ({"sql": "SELECT 1", "params": "{}"}, "invalid metadata property params"),
        ({"sql": "SELECT ?", "params": "[1, 2]"}, "expected 1 arguments, got 2"),
        ({"sql": "SELECT ?", "params": "[[1]]"}, "unsupported type"),
    ],
)
@pytest.mark.parametrize("operation", ["exec", "query"])
async def test_mysql_faults(binding: OutputBinding, metadata: dict[str, str], text: str, operation: str) -> None:
    with pytest.raises(BindingError, match=text):
        await ask(binding, operation, b"", **metadata)


@pytest.mark.parametrize(
    ("type_", "serve"), [("bindings.postgres", postgres), ("bindings.mysql", mysql)], ids=["postgres", "mysql"]
)
async def test_a_closed_database_answers_no_more(binding: OutputBinding) -> None:
    assert await binding.invoke(Request("close")) is None
    assert await binding.invoke(Request("close")) is None

    with pytest.raises(BindingError, match="component is closed"):
        await ask(binding, "query", sql="SELECT 1")


@pytest.mark.parametrize(
    ("type_", "serve"), [("bindings.postgres", postgres), ("bindings.mysql", mysql)], ids=["postgres", "mysql"]
)
async def test_a_database_that_stops_in_the_middle_holds_nobody_up(type_: str, ready: Ready) -> None:
    where = "connectionString" if type_ == "bindings.postgres" else "url"
    [port] = {int(one) for one in re.findall(r"port=(\d+)|127\.0\.0\.1:(\d+)", ready.metadata[where])[0] if one}
    async with binding_servers.stalling(port) as way:
        made = make(type_, {where: ready.metadata[where].replace(str(port), str(way.port))})
        assert isinstance(made, SqlBinding)
        await made.open()
        await ask(made, "query", sql="SELECT 1")
        made.seconds = 0.3
        way.goes.clear()

        with pytest.raises(BindingError, match="no answer within"):
            await asyncio.wait_for(ask(made, "query", sql="SELECT 1"), 10)

        made.seconds = SECONDS
        way.goes.set()
        await ask(made, "query", sql="SELECT 1")
        await made.close()


@pytest.mark.parametrize(
    ("type_", "serve"), [("bindings.postgres", postgres), ("bindings.mysql", mysql)], ids=["postgres", "mysql"]
)
async def test_a_database_that_is_back_is_used_again(binding: OutputBinding, ready: Ready) -> None:
    assert ready.restart is not None
    await ask(binding, "query", sql="SELECT 1")

    await ready.restart()

    end = asyncio.get_running_loop().time() + SECONDS
    while True:
        try:
            await ask(binding, "query", sql="SELECT 1")
            break
        except BindingError:
            assert asyncio.get_running_loop().time() < end
            await asyncio.sleep(0.1)


@only(smtp)
async def test_smtp_mail_is_sent(binding: OutputBinding, ready: Ready) -> None:
    metadata = {
        "emailTo": "a@example.org; Bea <b@example.org>", "emailCC": "c@example.org", "emailBCC": "d@example.org",
        "subject": "Grüße", "priority": "1",
    }  # fmt: skip

    assert await binding.invoke(Request("create", '"<b>hello ü</b>"'.encode(), metadata)) is None
    assert await binding.invoke(Request("create", b"plain", {"emailTo": "a@example.org"})) is None

    first, second = ready.server.seen[-2:]
    assert first.mail_from == "me@example.org"
    assert first.rcpt_tos == ["a@example.org", "b@example.org", "c@example.org", "d@example.org"]
    text = first.content.decode()
    assert "d@example.org" not in text and "X-priority: 1" in text and "text/html" in text
    assert b"Subject: News" in second.content and b"X-priority: 3" in second.content and b"plain" in second.content


@only(smtp)
@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({}, "emailTo property not supplied"),
        ({"emailTo": "a@example.org", "priority": "6"}, "priority value must be between"),
        ({"emailTo": "a@example.org", "priority": "x"}, "invalid syntax"),
        ({"emailTo": "refused@example.org"}, "sending email failed"),
        ({"emailTo": "a@example.org;unknown@example.org"}, "nobody of that name"),
        ({"emailTo": "nowhere"}, "invalid address"),
        ({"emailTo": "a@example.org", "emailBCC": '"b\nRSET"@example.org'}, "sending email failed"),
        ({"emailTo": "ä@example.org"}, "beyond ASCII"),
        ({"emailTo": "a@example.org", "subject": "a\r\nBcc: b@example.org"}, "sending email failed"),
    ],
)
async def test_smtp_faults(binding: OutputBinding, ready: Ready, metadata: dict[str, str], text: str) -> None:
    before = len(ready.server.seen)

    with pytest.raises(BindingError, match=text):
        await ask(binding, "create", b"x", **metadata)

    assert len(ready.server.seen) == before


@only(smtp)
async def test_smtp_tls_is_used_where_the_server_has_it(ready: Ready) -> None:
    server = servers.shared(binding_servers.smtp_with_tls)
    metadata = {**ready.metadata, "port": str(server.port), "emailTo": "a@example.org"}
    wary, careless = make("bindings.smtp", metadata), make("bindings.smtp", {**metadata, "skipTLSVerify": "true"})
    assert isinstance(wary, OutputBinding) and isinstance(careless, OutputBinding)
    await wary.open()
    await careless.open()

    with pytest.raises(BindingError, match="certificate"):
        await ask(wary, "create", b"x")
    assert await careless.invoke(Request("create", b"x")) is None

    assert server.was_secret and len(server.seen) == 1


@only(smtp)
async def test_smtp_no_password_goes_over_a_network_in_clear_text(ready: Ready) -> None:
    made = make("bindings.smtp", {**ready.metadata, "host": "127.0.0.2", "emailTo": "a@example.org"})
    assert isinstance(made, OutputBinding)
    await made.open()

    with pytest.raises(BindingError, match="unencrypted connection"):
        await ask(made, "create", b"x")


@only(smtp)
async def test_smtp_wrong_password(ready: Ready) -> None:
    made = make("bindings.smtp", {**ready.metadata, "password": "wrong", "emailTo": "a@example.org"})
    assert isinstance(made, OutputBinding)
    await made.open()

    with pytest.raises(BindingError, match="sending email failed"):
        await ask(made, "create", b"x")


@only(sftp)
async def test_sftp_files_come_and_go(binding: OutputBinding, ready: Ready) -> None:
    folder = uuid4().hex
    made = await ask(binding, "create", b"\x00\xff", fileName=f"{folder}/sub/a.bin")
    await ask(binding, "create", b"", rootPath=f"{ready.server.place}/files/{folder}", fileName="b.txt")

    assert json.loads(made.data) == {"fileName": "a.bin"} and made.metadata == {"fileName": "a.bin"}
    assert (await ask(binding, "get", fileName=f"{folder}/sub/a.bin")).data == b"\x00\xff"
    listed = json.loads((await ask(binding, "list", fileName=folder)).data)
    assert sorted(listed, key=str) == [
        {"fileName": "b.txt", "isDirectory": False},
        {"fileName": "sub", "isDirectory": True},
    ]
    assert await binding.invoke(Request("delete", metadata={"fileName": f"{folder}/sub/a.bin"})) is None
    with pytest.raises(BindingError, match=r"sftp binding error: error reading file .*a\.bin: No such file"):
        await ask(binding, "get", fileName=f"{folder}/sub/a.bin")


@only(sftp)
async def test_sftp_names_of_other_encodings_are_listed(binding: OutputBinding, ready: Ready) -> None:
    folder = uuid4().hex
    (ready.server.place / "files" / folder).mkdir()
    (ready.server.place / "files" / folder / os.fsdecode(b"a\xff")).touch()

    assert json.loads((await ask(binding, "list", fileName=folder)).data) == [{"fileName": "a?", "isDirectory": False}]


@only(sftp)
async def test_sftp_a_server_that_is_back_is_used_again(binding: OutputBinding, ready: Ready) -> None:
    assert ready.restart is not None
    name = uuid4().hex
    await ask(binding, "create", b"kept", fileName=name)

    await ready.restart()

    assert (await ask(binding, "get", fileName=name)).data == b"kept"


@only(sftp)
@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"hostPublicKey": "USER"}, "Host key"),
        ({"hostPublicKey": "none"}, "parse host public key error"),
        ({"hostPublicKey": "", "knownHostsFile": "/does/not/exist"}, "read known host file error"),
        ({"privateKey": "none"}, "parse private key error"),
        ({"privateKey": "", "password": "wrong"}, "Permission denied"),
        ({"hostPublicKey": ""}, "no host validation method provided"),
        ({"address": "127.0.0.1"}, "create sftp client error"),
    ],
)
async def test_sftp_who_is_not_known_is_refused(ready: Ready, changes: dict[str, str], text: str) -> None:
    changes = {name: (ready.server.place / "user.pub").read_text() if value == "USER" else value
               for name, value in changes.items()}  # fmt: skip

    with pytest.raises((OSError, ValueError), match=text):
        await make("bindings.sftp", {**ready.metadata, **changes}).open()


@only(sftp)
@pytest.mark.parametrize("how", ["known hosts", "any host", "locked key"])
async def test_sftp_ways_to_sign_in(ready: Ready, how: str) -> None:
    place, metadata = ready.server.place, dict(ready.metadata)
    if how == "known hosts":
        metadata |= {"hostPublicKey": "", "knownHostsFile": f"{place}/known"}
    elif how == "any host":
        metadata |= {"hostPublicKey": "", "insecureIgnoreHostKey": "true", "sequentialMode": "true"}
    else:
        metadata |= {"privateKey": (place / "locked").read_text(), "privateKeyPassphrase": "open sesame"}
    made = make("bindings.sftp", metadata)
    assert isinstance(made, OutputBinding)
    await made.open()

    assert isinstance(json.loads((await ask(made, "list")).data), list)
    await made.close()


@only(graphql)
async def test_graphql_query_and_mutation(binding: OutputBinding) -> None:
    answer = await binding.invoke(
        Request("query", b"", {"query": " query { me }", "variable:id": "7", "header:X-Other": "1"})
    )
    changed = await ask(binding, "mutation", mutation="mutation { change }")

    assert answer is not None
    assert json.loads(answer.data) == {"query": "query { me }", "variables": {"id": "7"}, "token": "abc"}
    assert answer.metadata["operation"] == "query"
    assert json.loads(changed.data)["variables"] is None


@only(graphql)
async def test_graphql_an_answer_without_end_of_its_depth(ready: Ready) -> None:
    made = make("bindings.graphql", {"endpoint": ready.metadata["endpoint"].replace("graphql", "deep")})
    assert isinstance(made, OutputBinding)
    await made.open()

    with pytest.raises(BindingError, match="decoding response"):
        await ask(made, "query", query="query { a }")
    await made.close()


@only(graphql)
@pytest.mark.parametrize(
    ("operation", "metadata", "text"),
    [
        ("query", {}, 'required "query" not set'),
        ("query", {"query": "mutation { a }"}, "command is not a query"),
        ("mutation", {"mutation": "{ a }"}, "command is not a mutation"),
        ("query", {"query": "query { broken }"}, "graphql: it is broken"),
    ],
)
async def test_graphql_faults(binding: OutputBinding, operation: str, metadata: dict[str, str], text: str) -> None:
    with pytest.raises(BindingError, match=text):
        await ask(binding, operation, b"", **metadata)


@only(rabbitmq)
async def test_rabbitmq_headers_and_properties_go_both_ways(part: Part, ready: Ready) -> None:
    app = App()
    reading = await read(part, app.handle)
    assert isinstance(part, OutputBinding)

    await part.invoke(Request("create", b"1", {"some key": "some/value", "priority": "3", "contentType": "text/x"}))
    await until(lambda: app.has(b"1"))

    assert app.seen[0].metadata == {"some+key": "some/value", "priority": "3", "contentType": "text/x"}
    await reading.close()


@only(rabbitmq)
async def test_rabbitmq_messages_end_in_time(part: Part) -> None:
    assert isinstance(part, OutputBinding)
    await part.invoke(Request("create", b"short", {"ttlInSeconds": "1"}))
    await part.invoke(Request("create", b"long", {"ttlInSeconds": "60"}))
    await asyncio.sleep(1.5)  # it is time itself that is waited for
    app = App()

    reading = await read(part, app.handle)

    await until(lambda: app.has(b"long"))
    assert not app.has(b"short")
    await reading.close()


@only(rabbitmq)
async def test_rabbitmq_priorities(ready: Ready) -> None:
    made = make("bindings.rabbitmq", {**ready.metadata, "queueName": f"ranked-{uuid4().hex}", "maxPriority": "5"})
    await made.open()
    assert isinstance(made, OutputBinding)
    for rank in ("1", "5", "3"):
        await made.invoke(Request("create", rank.encode(), {"priority": rank}))
    app = App()

    reading = await read(made, app.handle)

    await until(lambda: len(app.seen) == 3)
    assert [event.data for event in app.seen] == [b"5", b"3", b"1"]
    await reading.close()
    await made.close()


@only(rabbitmq)
@pytest.mark.parametrize(
    ("metadata", "text"),
    [({"ttlInSeconds": "x"}, "ttl value must be a valid integer"), ({"priority": "x"}, "priority value must be")],
)
async def test_rabbitmq_faults(binding: OutputBinding, metadata: dict[str, str], text: str) -> None:
    with pytest.raises(BindingError, match=text):
        await binding.invoke(Request("create", b"x", metadata))


@only(rabbitmq)
async def test_rabbitmq_a_queue_of_another_kind_ends_the_start(ready: Ready) -> None:
    made = make("bindings.rabbitmq", ready.metadata)
    await made.open()
    other = make("bindings.rabbitmq", {**ready.metadata, "durable": "false"})

    with pytest.raises(OSError, match="PRECONDITION_FAILED"):
        await other.open()

    await other.close()
    await made.close()


@only(mosquitto)
async def test_mqtt_topics_and_wildcards(ready: Ready) -> None:
    name = uuid4().hex
    made = make("bindings.mqtt3", {**ready.metadata, "topic": f"{name}/#"})
    await made.open()
    assert isinstance(made, OutputBinding)
    app = App()
    reading = await read(made, app.handle)

    await made.invoke(Request("create", b"1", {"topic": f"{name}/a/b"}))
    with pytest.raises(BindingError, match="wildcard"):
        await made.invoke(Request("create", b"2"))

    await until(lambda: app.has(b"1"))
    assert app.seen[0].metadata == {"topic": f"{name}/a/b"}
    await reading.close()
    await made.close()


@only(mosquitto)
async def test_mqtt_retained_messages_come_to_who_reads_later(ready: Ready) -> None:
    made = make("bindings.mqtt3", {**ready.metadata, "retain": "true"})
    await made.open()
    assert isinstance(made, OutputBinding)
    await made.invoke(Request("create", b"kept"))
    app = App()

    reading = await read(made, app.handle)

    await until(lambda: app.has(b"kept"))
    await reading.close()
    await made.close()


@only(mosquitto)
async def test_mqtt_is_read_once_at_a_time(part: Part) -> None:
    app = App()
    reading = await read(part, app.handle)

    with pytest.raises(BindingError, match="already active"):
        await read(part, app.handle)

    await reading.close()
