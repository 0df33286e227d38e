"""Apps among the services of a Consul agent; the agent is played."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from pydapr import components
from pydapr.components import Wrong
from pydapr.components.nameresolution import Instance, NotFound
from pydapr.components.nameresolution.hashicorp_consul import Consul, Options

OWN = Instance("shop", "default", "10.0.0.1:50002", http_port=3500, app_port=6001)


class Agent:
    """Answers with `services`, and keeps what it is asked: method, path, header fields, body."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, str]] = []
        self.services: list[dict[str, Any]] = []
        self.status = 200
        self.address = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = head.lower().split("\r\n")
        length = next(int(line.split(":")[1]) for line in fields if line.startswith("content-length:"))
        method, path, _ = head.split(" ", 2)
        self.asked.append((method, path, head.lower(), (await reader.readexactly(length)).decode()))
        body = json.dumps(self.services).encode()
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (self.status, len(body), body))
        await writer.drain()
        writer.close()


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    made = Agent()
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()
    await server.wait_closed()


def consul(agent: Agent, **configuration: Any) -> Consul:
    client = {"address": agent.address, **configuration.pop("client", {})}
    return Consul(components.read(Options, {"client": client, **configuration}))


def service(address: str, node: str = "", **meta: str) -> dict[str, Any]:
    return {"Service": {"Address": address, "Meta": meta}, "Node": {"Address": node}}


def test_short_name_is_known_too() -> None:
    assert components.find("nameresolution.consul") is components.find("nameresolution.hashicorp.consul")


async def test_healthy_services_are_found_with_their_port(agent: Agent) -> None:
    agent.services = [
        service("10.0.0.2", DAPR_PORT="50002"),
        service("", "10.0.0.3", DAPR_PORT="50003"),
        service("fd00::1", DAPR_PORT="50004"),
        service("10.0.0.5"),
    ]

    found = await consul(agent).resolve("shop", "default")

    assert found == ("10.0.0.2:50002", "10.0.0.3:50003", "[fd00::1]:50004")
    path = urlsplit(agent.asked[0][1])
    assert path.path == "/v1/health/service/shop"
    assert parse_qs(path.query, keep_blank_values=True) == {"passing": ["1"], "cached": [""]}


async def test_query_and_token_are_those_of_the_configuration(agent: Agent) -> None:
    options = {"Datacenter": "dc2", "RequireConsistent": True, "Filter": "a == b"}
    resolver = consul(agent, queryOptions=options, client={"token": "t0k"}, daprPortMetaKey="PORT")
    agent.services = [service("10.0.0.2", PORT="1")]

    assert await resolver.resolve("shop", "default") == ("10.0.0.2:1",)
    query = parse_qs(urlsplit(agent.asked[0][1]).query, keep_blank_values=True)
    assert query == {"passing": ["1"], "dc": ["dc2"], "consistent": [""], "filter": ["a == b"]}
    assert "x-consul-token: t0k" in agent.asked[0][2]


async def test_nobody_is_not_found(agent: Agent) -> None:
    with pytest.raises(NotFound, match=f"Consul http://{agent.address}"):
        await consul(agent).resolve("shop", "default")


async def test_own_registration_and_its_end(agent: Agent) -> None:
    resolver = consul(agent, selfRegister=True, selfDeregister="true", tags=["a"], meta={"x": "y"})
    await resolver.open()
    await resolver.register(OWN)
    await resolver.close()

    (method, path, _, body), end = agent.asked
    assert (method, path) == ("PUT", "/v1/agent/service/register")
    assert json.loads(body) == {
        "ID": "shop-10.0.0.1-3500",
        "Name": "shop",
        "Address": "10.0.0.1",
        "Port": 6001,
        "Tags": ["a"],
        "Meta": {"x": "y", "DAPR_PORT": "50002"},
        "Checks": [
            {
                "Name": "Dapr Health Status",
                "CheckID": "daprHealth:shop-10.0.0.1-3500",
                "Interval": "15s",
                "HTTP": "http://10.0.0.1:3500/v1.0/healthz?appid=shop",
            }
        ],
    }
    assert end[:2] == ("PUT", "/v1/agent/service/deregister/shop-10.0.0.1-3500")


async def test_advanced_registration_is_passed_on(agent: Agent) -> None:
    resolver = consul(agent, advancedRegistration={"id": "i", "name": "n", "meta": {"x": "y"}})
    await resolver.open()
    await resolver.register(OWN)

    assert json.loads(agent.asked[0][3]) == {"id": "i", "name": "n", "meta": {"x": "y", "DAPR_PORT": "50002"}}


async def test_without_registration_the_agent_is_asked_whether_it_is_there(agent: Agent) -> None:
    await consul(agent).open()
    assert agent.asked[0][1] == "/v1/agent/self"

    agent.status = 403
    with pytest.raises(OSError, match="failed check on consul agent: Unexpected response code: 403"):
        await consul(agent).open()


async def test_registration_without_an_app_is_refused(agent: Agent) -> None:
    with pytest.raises(Wrong, match="metadata property missing: APP_PORT"):
        await consul(agent, selfRegister=True).register(Instance("shop", "default", "10.0.0.1:1", http_port=3500))


def test_configuration_of_another_shape_is_refused() -> None:
    with pytest.raises(Wrong, match="client: a mapping is wanted"):
        Consul(components.read(Options, {"client": "127.0.0.1"}))
