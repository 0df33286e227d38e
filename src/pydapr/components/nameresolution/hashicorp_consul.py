"""nameresolution.hashicorp.consul finds apps among the healthy services of a Consul agent, by the agent's HTTP API.

With `selfRegister` the sidecar makes its app known there: under its app id, with its port for other sidecars in the
service's `Meta`. That is where the port is taken from, too.
"""

import functools
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from pydapr.components import Wrong, component, option, options
from pydapr.components.nameresolution import Addresses, Instance, Remembering, host_port
from pydapr.net import client_tls, dial, http
from pydapr.observe import logging

if TYPE_CHECKING:
    import ssl

log = logging.get("dapr.contrib")

SECONDS = 10.0

_QUERY = {
    "datacenter": "dc", "near": "near", "filter": "filter", "namespace": "ns", "partition": "partition",
}  # fmt: skip
_SWITCHES = {"allowstale": "stale", "requireconsistent": "consistent", "usecache": "cached"}


@options
class Options:
    client: object = option(
        "The agent: `address`, `scheme`, `datacenter`, `token`, `httpAuth`, `tlsConfig`.", default=None
    )
    checks: object = option("Health checks of the own registration; a call of the sidecar's by default.", default=None)
    tags: object = option("Tags of the own registration.", default=None)
    meta: object = option("Further `Meta` of the own registration.", default=None)
    query_options: object = option("How services are asked for.", default=None)
    advanced_registration: object = option("The whole own registration, in Consul's words.", default=None)
    dapr_port_meta_key: str = option("The key of `Meta` that has the port.", default="DAPR_PORT")
    self_register: bool = option("Register at start.", default=False)
    self_deregister: bool = option("Take the registration back at the end.", default=False)
    use_cache: bool = option("Accepted; answers are always remembered for a second.", default=False)


@component("nameresolution.hashicorp.consul", Options)
class Consul(Remembering):
    def __init__(self, options: Options) -> None:
        super().__init__()
        self._options = options
        client = _lower(options.client, "client")
        address = str(client.get("address") or os.environ.get("CONSUL_HTTP_ADDR") or "127.0.0.1:8500")
        scheme = str(client.get("scheme") or "http")
        self._base = (address if "://" in address else f"{scheme}://{address}").rstrip("/")
        self.place = f"Consul {self._base}"
        self._headers = _headers(client)
        self._connect = _dial(_lower(client.get("tlsconfig"), "tlsConfig"))
        self._query = _query(options, client)
        self._registered = ""

    async def open(self) -> None:
        if self._options.advanced_registration is None and not self._options.self_register:
            await self._call("GET", "/v1/agent/self", "failed check on consul agent")

    async def register(self, instance: Instance) -> None:
        registration = self._registration(instance)
        if registration is None:
            return
        body = json.dumps(registration).encode()
        await self._call("PUT", "/v1/agent/service/register", "failed to register consul service", body)
        names = _lower(registration, "advancedRegistration")
        self._registered = str(names.get("id") or names.get("name") or "")
        log.info(f"service:{names.get('name')} registered on consul agent")

    async def look_up(self, app_id: str, namespace: str) -> Addresses:
        path = f"/v1/health/service/{quote(app_id, '')}?{self._query}"
        entries = json.loads((await self._call("GET", path, "failed to query healthy consul services")).body)
        found = []
        for entry in entries or ():
            service, node = entry.get("Service") or {}, entry.get("Node") or {}
            host = service.get("Address") or node.get("Address")
            port = (service.get("Meta") or {}).get(self._options.dapr_port_meta_key)
            if not port:
                log.warning(
                    f"target service AppID '{app_id}' found but {self._options.dapr_port_meta_key} missing from meta"
                )
            elif host:
                found.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        return tuple(found)

    async def close(self) -> None:
        await super().close()
        registered, self._registered = self._registered, ""
        if registered and self._options.self_deregister:
            path = f"/v1/agent/service/deregister/{quote(registered, '')}"
            try:
                await self._call("PUT", path, "failed to deregister consul service", seconds=1.0)
                log.info("deregistered service from consul")
            except OSError as error:
                log.warning(str(error))

    async def _call(
        self, method: str, path: str, what: str, body: bytes = b"", seconds: float = SECONDS
    ) -> http.Answer:
        """Raises `OSError`."""
        try:
            answer = await http.request(method, self._base + path, self._headers, body, seconds, self._connect)
        except (OSError, ValueError) as error:
            raise OSError(f"{what}: {error}") from None
        if answer.status != 200:
            said = answer.body[:200].decode("utf-8", "replace")
            raise OSError(f"{what}: Unexpected response code: {answer.status} ({said})")
        return answer

    def _registration(self, instance: Instance) -> dict[str, Any] | None:
        """What Consul is told of this sidecar; None when that is not wanted. Raises `Wrong`."""
        options = self._options
        host, port = host_port(instance.address)
        if options.advanced_registration is not None:
            wanted = dict(_mapping(options.advanced_registration, "advancedRegistration"))
            key = next((name for name in wanted if name.lower() == "meta"), "Meta")
            wanted[key] = {**_mapping(wanted.get(key), "meta"), options.dapr_port_meta_key: str(port)}
            return wanted
        if not options.self_register:
            return None
        if not instance.app_port:
            raise Wrong("metadata property missing: APP_PORT")
        name = f"{instance.app_id}-{host}-{instance.http_port}"
        node = f"[{host}]" if ":" in host else host
        check = {
            "Name": "Dapr Health Status",
            "CheckID": f"daprHealth:{name}",
            "Interval": "15s",
            "HTTP": f"http://{node}:{instance.http_port}/v1.0/healthz?appid={instance.app_id}",
        }
        return {
            "ID": name,
            "Name": instance.app_id,
            "Address": host,
            "Port": instance.app_port,
            "Checks": options.checks or [check],
            "Tags": options.tags or [],
            "Meta": {**_mapping(options.meta, "meta"), options.dapr_port_meta_key: str(port)},
        }


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Wrong(f"metadata property {what}: a mapping is wanted")
    return value


def _lower(value: object, what: str) -> dict[str, Any]:
    return {str(name).lower(): item for name, item in _mapping(value, what).items()}


def _headers(client: Mapping[str, Any]) -> dict[str, str]:
    token = client.get("token") or os.environ.get("CONSUL_HTTP_TOKEN") or ""
    if client.get("tokenfile"):
        with open(str(client["tokenfile"])) as file:
            token = file.read().strip()
    headers = {"content-type": "application/json"}
    if token:
        headers["x-consul-token"] = str(token)
    basic = _lower(client.get("httpauth"), "httpAuth")
    if basic:
        import base64

        pair = f"{basic.get('username', '')}:{basic.get('password', '')}"
        headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    return headers


def _dial(tls: Mapping[str, Any]) -> http.Dial:
    if tls.get("insecureskipverify"):
        log.info("hashicorp consul: you are using 'insecureSkipVerify' to skip server config verify which is unsafe!")
        return functools.partial(dial.to, verify=False)
    if not any(tls.get(name) for name in ("cafile", "certfile", "keyfile")):
        return dial.to
    context: ssl.SSLContext = client_tls.context(
        *(_content(tls.get(name)) for name in ("cafile", "certfile", "keyfile"))
    )
    return functools.partial(dial.to, context=context)


def _content(path: object) -> str:
    if not path:
        return ""
    with open(str(path)) as file:
        return file.read()


def _query(options: Options, client: Mapping[str, Any]) -> str:
    """The parameters of a query for services: healthy ones only."""
    wanted = _lower(options.query_options, "queryOptions") if options.query_options is not None else {"usecache": True}
    pairs = {"passing": "1"}
    if client.get("datacenter"):
        pairs["dc"] = str(client["datacenter"])
    pairs |= {to: str(wanted[name]) for name, to in _QUERY.items() if wanted.get(name)}
    pairs |= {to: "" for name, to in _SWITCHES.items() if wanted.get(name)}
    return urlencode(pairs)
