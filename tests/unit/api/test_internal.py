"""Access rules at the internal port: who calls, by its certificate, and what it may call, however it spells it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.unit.security import issuing

from pydapr.api.grpc.proxy import ProxyApi
from pydapr.api.internal import InternalApi
from pydapr.app import paths, rpc
from pydapr.app.channel import Answer, AppChannel, Call
from pydapr.blocks.invoke import Invoker
from pydapr.blocks.proxy import Proxy
from pydapr.components.nameresolution import Addresses, Instance, Resolver
from pydapr.errors import Code, RpcError
from pydapr.net import dial, http2_pool, server
from pydapr.net.body import Body
from pydapr.peers.sidecar import Sidecars
from pydapr.policy import access, gate
from pydapr.resources.accesscontrol import AccessControl, AppPolicy, Operation
from pydapr.security import tls
from pydapr.wire import appcalls, grpc, http2, invocation

OPERATIONS = (Operation("/public", ("*",), "allow"), Operation("/posted", ("POST",), "allow"))


class Names(Resolver):
    """Knows nobody: what is called here is the own app."""

    async def open(self) -> None: ...

    async def register(self, instance: Instance) -> None: ...

    def known(self, app_id: str, namespace: str) -> Addresses:
        return ()

    async def resolve(self, app_id: str, namespace: str) -> Addresses:
        return ()

    def report_dead(self, app_id: str, namespace: str, address: str) -> None: ...

    async def close(self) -> None: ...


class Channel(AppChannel):
    """An app that writes down what it is called by."""

    def __init__(self, takes_rpc: bool) -> None:
        self.takes_rpc = takes_rpc
        self.called: list[str] = []

    async def invoke(self, call: Call) -> Answer:
        self.called.append(call.method)
        if self.takes_rpc:
            response = appcalls.Response()
            response.data = b"done"
            return rpc.RpcAnswer(response)
        return Answer(200, (), Body.of(b"done"))

    def close(self) -> None: ...

    def retire(self) -> None: ...


class PassedOn:
    """An app that takes whatever passes through."""

    def __init__(self) -> None:
        self.called: list[str] = []

    async def pass_on(self, relay: Any) -> bool:
        exchange = relay.exchange
        self.called.append(exchange.target.decode())
        exchange.send(b"", b"", ((b":status", b"200"), (b"content-type", b"application/grpc"), *grpc.OK_TRAILERS))
        return True


class Callee:
    """The internal port of an app that lets `shop` call /public, and /posted by POST; and callers of it."""

    def __init__(self, takes_rpc: bool = False, with_tls: bool = True, default: str = "deny") -> None:
        policy = AppPolicy("shop", "deny", "public", "default", OPERATIONS)
        rules = access.compile(AccessControl(default, "public", (policy,)), not takes_rpc)
        assert rules is not None
        self.channel, self.passed = Channel(takes_rpc), PassedOn()
        sidecars: Any = None
        invoker = Invoker("me", "default", Names(), sidecars, lambda _: self.channel)
        invoker.app = self.channel
        guard = gate.Gate(rules, paths.normalize)
        proxy = Proxy("me", "default", Names(), sidecars, self.passed, guard)
        api = InternalApi(invoker, 1 << 20, gate=guard)
        self._methods = api.methods(ProxyApi(proxy, 1 << 20).handle)
        self._issuer = issuing.Issuer()
        self._with_tls = with_tls
        self._pools: list[http2_pool.Pool] = []

    async def open(self) -> None:
        context = (await self._issuer.source("me")).server_context(with_client=True) if self._with_tls else None
        self._server = server.Server(self._methods, server.Options(with_http1=False, tls=context))
        self._address = f"localhost:{await self._server.listen('127.0.0.1', 0)}"

    async def close(self) -> None:
        for pool in self._pools:
            pool.close()
        await self._server.stop(0.0)

    async def pool(self, app_id: str, trust_domain: str = "public") -> http2_pool.Pool:
        connect: http2_pool.Connector = dial.address
        if self._with_tls:
            source = await self._issuer.source(app_id, trust_domain)
            connect = tls.connector(source.client_context, lambda _: True)
        self._pools.append(http2_pool.Pool(connect, http2.Limits()))
        return self._pools[-1]

    async def invoke(
        self, method: str, app_id: str = "shop", verb: bytes = b"GET", trust_domain: str = "public"
    ) -> str:
        """What the caller is answered; the error's text if it is one."""
        sidecars = Sidecars(await self.pool(app_id, trust_domain), app_id, "default", "127.0.0.1")
        call = Call(verb, method, b"", (), Body.of(b""))
        try:
            answer = await sidecars.invoke(self._address, "me", "default", call)
        except RpcError as error:
            return str(error)
        return (await answer.body.read_all()).decode()

    async def ask(self, path: bytes, message: bytes, app_id: str = "shop") -> grpc.Status:
        """How a unary call of gRPC ends."""
        connection = await (await self.pool(app_id)).connection(self._address)
        head = (
            (b":method", b"POST"), (b":scheme", b"https"), (b":path", path), (b":authority", b"x"),
            (b"content-type", b"application/grpc"), (b"te", b"trailers"), (b"dapr-app-id", b"me"),
        )  # fmt: skip
        request = connection.open(head, grpc.frame(message), True)
        first = await request.head()
        await request.body.read_all()
        status = grpc.status_of(request.trailers or first)
        assert status is not None
        return status


@pytest.fixture
async def callee(request: pytest.FixtureRequest) -> AsyncIterator[Callee]:
    made = Callee(**getattr(request, "param", {}))
    await made.open()
    yield made
    await made.close()


def denied(operation: str, verb: str = "GET", caller: str = "spiffe://public/ns/default/shop") -> str:
    return (
        "rpc error: code = PermissionDenied desc = access control policy has denied access to "
        f"id: {caller} operation: {operation} verb: {verb}"
    )


async def test_the_certificate_says_who_calls(callee: Callee) -> None:
    assert await callee.invoke("public") == "done"
    assert await callee.invoke("public", "other") == denied("public", caller="spiffe://public/ns/default/other")
    assert await callee.invoke("public", trust_domain="away") == denied(
        "public", caller="spiffe://away/ns/default/shop"
    )
    assert callee.channel.called == ["public"]


async def test_the_verb_counts(callee: Callee) -> None:
    assert await callee.invoke("posted", verb=b"POST") == "done"
    assert await callee.invoke("posted", verb=b"PUT") == denied("posted", "PUT")


@pytest.mark.parametrize("callee", [{"takes_rpc": True}], indirect=True)
async def test_it_does_not_with_an_app_that_speaks_grpc(callee: Callee) -> None:
    assert await callee.invoke("posted", verb=b"GET") == "done"
    assert await callee.invoke("/Public") == denied("/Public", "NONE")


@pytest.mark.parametrize(
    ("method", "reached"),
    [
        ("admin/../public", "public"),
        ("admin/../../public", "public"),
        ("/a/b/../../public/./", "/public"),
        ("public//extra", "public/extra"),
        ("PUBLIC", "PUBLIC"),
        ("admin%2Fsecret/../public", "public"),
        ("/admin%0D/../public", "/public"),
    ],
)
async def test_what_leads_to_an_allowed_operation_arrives_as_that(callee: Callee, method: str, reached: str) -> None:
    assert await callee.invoke(method) == "done"
    assert callee.channel.called == [reached]


@pytest.mark.parametrize(
    ("method", "operation"),
    [
        ("public/../admin", "admin"),
        ("public%/../admin", "admin"),
        ("public/%2e%2e/../../admin", "admin"),
        ("public;../../admin", "../admin"),
        ("admin%2F..%2Fpublic", "admin%2F..%2Fpublic"),
        ("admin\\..\\public", "admin\\..\\public"),
        ("admin\uff0f..\uff0fpublic", "admin\uff0f..\uff0fpublic"),
        ("public*", "public*"),
        ("publi", "publi"),
        ("", ""),
        ("..", ""),
    ],
)
async def test_what_leads_to_another_does_not_reach_the_app(callee: Callee, method: str, operation: str) -> None:
    said = await callee.invoke(method)

    assert said == denied("admin" if operation == "../admin" else operation)
    assert callee.channel.called == []


@pytest.mark.parametrize("method", ["public#/../admin", "public?x", "public\0", "public\r/../admin", "a\nb", "a\tb"])
async def test_letters_that_servers_disagree_about_are_refused(callee: Callee, method: str) -> None:
    said = await callee.invoke(method)

    assert said.startswith("rpc error: code = InvalidArgument desc = invalid method: method contains ")
    assert callee.channel.called == []


async def test_the_older_call_obeys_too(callee: Callee) -> None:
    def request(method: bytes, verb: int) -> bytes:
        metadata = invocation.literal_entry(b"x", b"y")
        return invocation.encode_request(metadata, method, b"", verb, b"")

    path = b"/dapr.proto.internals.v1.ServiceInvocation/CallLocal"
    assert (await callee.ask(path, request(b"public", 1))).code == Code.OK
    refused = await callee.ask(path, request(b"x/../posted", 1))

    assert (refused.code, refused.message) == (Code.PERMISSION_DENIED, denied("posted").partition("desc = ")[2])
    assert callee.channel.called == ["public"]


@pytest.mark.parametrize("callee", [{"takes_rpc": True}], indirect=True)
async def test_what_passes_through_obeys_too(callee: Callee) -> None:
    assert (await callee.ask(b"/public/Method", b"")).code == Code.OK
    refused = await callee.ask(b"/public/../pkg.Service/Method", b"")
    other = await callee.ask(b"/public/Method", b"", "other")

    assert (refused.code, refused.message) == (
        Code.PERMISSION_DENIED, denied("/pkg.Service/Method", "NONE").partition("desc = ")[2]
    )  # fmt: skip
    assert other.code == Code.PERMISSION_DENIED
    assert callee.passed.called == ["/public/Method"]


@pytest.mark.parametrize("callee", [{"with_tls": False}, {"with_tls": False, "default": "allow"}], indirect=True)
async def test_without_certificates_the_global_default_holds(callee: Callee, request: pytest.FixtureRequest) -> None:
    is_open = "default" in request.node.callspec.params["callee"]

    assert await callee.invoke("public") == ("done" if is_open else denied("public", caller=""))
    assert (await callee.ask(b"/pkg.S/M", b"")).code == (Code.OK if is_open else Code.PERMISSION_DENIED)
