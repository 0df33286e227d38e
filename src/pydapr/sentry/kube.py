"""The API server of Kubernetes, as far as sentry asks it: objects by name, a token review, updates.

Where it is and how to sign in stands in the pod, or in a kubeconfig file. Used in mode kubernetes only: by `cluster`
and the validator `kubernetes`.
"""

import base64
import binascii
import json
import os
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pydapr.lib.record import Record
from pydapr.net import client_tls, dial, http, pool
from pydapr.resources import documents

SECONDS = 10.0
"""How long an answer may take."""

IN_POD = "/var/run/secrets/kubernetes.io/serviceaccount"

Object = dict[str, Any]


class Failed(Exception):
    """The API server did not do what it was asked for; `status` is 0 without an answer."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Access(Record):
    """Where the API server is and how to sign in. PEM texts; `token_file` is read for each request."""

    url: str
    ca: str = ""
    verify: bool = True
    server_name: str = ""
    certificate: str = ""
    key: str = ""
    token: str = ""
    token_file: str = ""


def find(kubeconfig: str, environ: Mapping[str, str]) -> Access:
    """In a pod what the pod has, elsewhere what the file says. Raises `Failed`."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    token_file = os.path.join(IN_POD, "token")
    if host and port and os.path.exists(token_file):
        node = f"[{host}]" if ":" in host else host
        return Access(f"https://{node}:{port}", _file(os.path.join(IN_POD, "ca.crt")), token_file=token_file)
    return read(kubeconfig)


def read(path: str) -> Access:
    """What a kubeconfig file says for its current context. Raises `Failed`."""
    try:
        document = documents.decode(_file(path).encode())
        context = _named(document, "contexts", "context", _member(document, "current-context"))
        cluster = _named(document, "clusters", "cluster", context.get("cluster"))
        user = _named(document, "users", "user", context["user"]) if context.get("user") else {}
    except (ValueError, KeyError, TypeError) as error:
        raise Failed(f"kubeconfig {path}: {error}") from None
    for name in ("exec", "auth-provider", "username"):
        if user.get(name):
            raise Failed(f"kubeconfig {path}: signing in by {name!r} is not available; use a token or a certificate")
    if cluster.get("proxy-url"):
        raise Failed(f"kubeconfig {path}: proxy-url is not available")
    folder = os.path.dirname(path)
    token_file = str(user.get("tokenFile") or "")
    return Access(
        url=str(cluster.get("server") or "").rstrip("/"),
        ca=_material(cluster, "certificate-authority", folder),
        verify=not cluster.get("insecure-skip-tls-verify"),
        server_name=str(cluster.get("tls-server-name") or ""),
        certificate=_material(user, "client-certificate", folder),
        key=_material(user, "client-key", folder),
        token=str(user.get("token") or ""),
        token_file=os.path.join(folder, token_file) if token_file else "",
    )


def _member(document: Any, name: str) -> Any:
    return document[name]


def _named(document: Any, entries: str, kind: str, name: Any) -> Mapping[str, Any]:
    for entry in document[entries]:
        if entry["name"] == name:
            return dict(entry[kind])
    raise ValueError(f"there is no {kind} {name!r}")


def _material(holder: Mapping[str, Any], name: str, folder: str) -> str:
    """A PEM text that stands in the file or in a file of its own."""
    inside = holder.get(f"{name}-data")
    if inside:
        try:
            return base64.b64decode(str(inside), validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise Failed(f"kubeconfig: {name}-data: {error}") from None
    return _file(os.path.join(folder, str(holder[name]))) if holder.get(name) else ""


def _file(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise Failed(f"open {path}: {(error.strerror or '').lower()}") from None


class Api:
    """Asks the API server, over connections that are kept. Every method raises `Failed`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._client = http.Client(self._dial)
        try:
            self._tls = client_tls.context(access.ca, access.certificate, access.key)
        except ValueError as error:
            raise Failed(f"TLS towards {access.url}: {error}") from None
        if not access.verify:
            self._tls.check_hostname = False
            self._tls.verify_mode = ssl.CERT_NONE

    def close(self) -> None:
        self._client.close()

    async def get(self, path: str) -> Object:
        return await self._ask("GET", path)

    async def put(self, path: str, content: Object) -> Object:
        return await self._ask("PUT", path, content)

    async def post(self, path: str, content: Object) -> Object:
        return await self._ask("POST", path, content)

    async def find(self, path: str, namespace: str, name: str) -> Object | None:
        """One object of a list over all namespaces, None if there is none. Sentry may list, but not get."""
        selector = quote(f"metadata.name={name},metadata.namespace={namespace}", safe="")
        found = await self.get(f"{path}?fieldSelector={selector}")
        for one in found.get("items") or ():
            about = one.get("metadata") or {}
            if (about.get("namespace"), about.get("name")) == (namespace, name):
                return dict(one)
        return None

    async def _ask(self, method: str, path: str, content: Object | None = None) -> Object:
        headers = {"accept": "application/json"}
        if content is not None:
            headers["content-type"] = "application/json"
        access = self._access
        token = _file(access.token_file).strip() if access.token_file else access.token
        if token:
            headers["authorization"] = f"Bearer {token}"
        body = b"" if content is None else json.dumps(content).encode()
        try:
            answer = await self._client.request(method, access.url + path, headers, body, SECONDS)
            said = json.loads(answer.body) if answer.body else {}
        except (OSError, ValueError) as error:
            raise Failed(str(error)) from None
        if not 200 <= answer.status < 300 or not isinstance(said, dict):
            reason = said.get("message") if isinstance(said, dict) else None
            raise Failed(str(reason or f"{method} {path}: status {answer.status}"), answer.status)
        return said

    def _dial(self, host: str, port: int, with_tls: bool) -> pool.Connector:
        return dial.to(host, port, with_tls, context=self._tls, server_name=self._access.server_name)
