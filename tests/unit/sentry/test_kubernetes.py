"""Mode kubernetes against a stand-in for the API server: the validator, the store, kubeconfig files."""

import base64
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.unit.security import issuing

from pydapr.net import server
from pydapr.net.exchange import Exchange
from pydapr.security import spiffe, token
from pydapr.sentry import bundle, cluster, configuration, first_start, kube, store, validators
from pydapr.sentry.validators.kubernetes import Kubernetes
from pydapr.wire import signing

SENTRY = spiffe.sentry("cluster.local", "dapr-system")
SECRET = "/api/v1/namespaces/dapr-system/secrets/dapr-trust-bundle"
MAP = "/api/v1/namespaces/dapr-system/configmaps/dapr-trust-bundle"
FILES = ("x/ca.crt", "x/issuer.crt", "x/issuer.key")


def _pod(**annotations: str) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in annotations.items()}
    return {
        "metadata": {
            "name": "mypod",
            "namespace": "myns",
            "annotations": {f"dapr.io/{name}": value for name, value in named.items()},
        },
        "spec": {"serviceAccountName": "myaccount"},
    }


class Server:
    """Objects by path, lists by path, and one answer to all token reviews. What was asked is kept."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.lists: dict[str, list[Any]] = {"/api/v1/pods": [_pod(app_id="myapp")]}
        self.review: dict[str, Any] = {
            "authenticated": True,
            "user": {"username": "system:serviceaccount:myns:myaccount"},
        }
        self.asked: list[tuple[str, str, Any]] = []
        self.tokens: list[str] = []
        self.url = ""
        self.refusals: list[str] = []
        """Paths whose next PUT comes too late."""

    async def __call__(self, exchange: Exchange) -> None:
        parts = urlsplit(exchange.target.decode())
        body = await exchange.body.read_all()
        content = json.loads(body) if body else parse_qs(parts.query)
        self.asked.append((exchange.method.decode(), parts.path, content))
        self.tokens.append(exchange.fields.get(b"authorization", b"").decode())
        status, answer = self._answer(exchange.method.decode(), parts.path, content)
        exchange.respond(status, ((b"content-type", b"application/json"),), json.dumps(answer).encode())

    def _answer(self, method: str, path: str, content: Any) -> tuple[int, Any]:
        if path.endswith("/tokenreviews"):
            return 201, {"status": self.review}
        if path in self.lists:
            return 200, {"items": self.lists[path]}
        if path not in self.objects:
            return 404, {"kind": "Status", "message": f"{path} not found"}
        if method == "PUT" and path in self.refusals:
            self.refusals.remove(path)
            return 409, {"kind": "Status", "message": "the object has been modified"}
        if method == "PUT":
            self.objects[path] = content
        return 200, self.objects[path]


@pytest.fixture
async def kubernetes() -> AsyncIterator[Server]:
    made = Server()
    one = server.Server(made)
    made.url = f"http://127.0.0.1:{await one.listen('127.0.0.1', 0)}"
    yield made
    await one.stop(0)


@pytest.fixture
async def api(kubernetes: Server) -> AsyncIterator[kube.Api]:
    made = kube.Api(kube.Access(kubernetes.url, token="mine"))
    yield made
    made.close()


# -- the validator --


def _token(claims: object) -> str:
    parts = (json.dumps(part).encode() for part in ({}, claims))
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), "signature"])


def _request(**fields: Any) -> signing.Request:
    given: dict[str, Any] = {
        "id": "myapp",
        "namespace": "myns",
        "certificate_signing_request": b"x",
        "token": _token({"kubernetes.io": {"pod": {"name": "mypod"}}}),
        "trust_domain": "ignored",
        **fields,
    }
    return signing.Request(**given)


async def test_a_pod_is_the_app_that_it_is_annotated_with(kubernetes: Server, api: kube.Api) -> None:
    assert await Kubernetes(api, SENTRY).validate(_request()) == "public"
    (review, pods) = kubernetes.asked
    assert review[:2] == ("POST", "/apis/authentication.k8s.io/v1/tokenreviews")
    assert review[2]["spec"]["audiences"] == ["dapr.io/sentry", str(SENTRY)]
    assert pods == ("GET", "/api/v1/pods", {"fieldSelector": ["metadata.name=mypod,metadata.namespace=myns"]})
    assert set(kubernetes.tokens) == {"Bearer mine"}


async def test_a_pod_without_an_annotation_is_called_as_it_is(kubernetes: Server, api: kube.Api) -> None:
    kubernetes.lists["/api/v1/pods"] = [_pod()]
    assert await Kubernetes(api, SENTRY).validate(_request(id="mypod")) == "public"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [({}, "public"), ({"accessControl": {"trustDomain": "td"}}, "td"), ({"accessControl": {}}, "public")],
)
async def test_the_configuration_says_in_which_trust_domain(
    kubernetes: Server, api: kube.Api, spec: dict[str, Any], expected: str
) -> None:
    kubernetes.lists["/api/v1/pods"] = [_pod(app_id="myapp", config="mine")]
    about = {"name": "mine", "namespace": "myns"}
    kubernetes.lists["/apis/dapr.io/v1alpha1/configurations"] = [{"metadata": about, "spec": spec}]
    assert await Kubernetes(api, SENTRY).validate(_request()) == expected


async def test_services_of_the_control_plane_are_in_its_trust_domain(kubernetes: Server, api: kube.Api) -> None:
    kubernetes.lists["/api/v1/pods"] = [_pod(control_plane="operator")]
    own = spiffe.sentry("cluster.local", "myns")
    assert await Kubernetes(api, own).validate(_request(id="dapr-operator")) == "cluster.local"


@pytest.mark.parametrize(
    ("pod", "own", "reason"),
    [
        (_pod(control_plane="operator"), "dapr-system", "control plane service in namespace 'myns' is not allowed"),
        (_pod(control_plane="other"), "myns", "unknown control plane service 'other'"),
        (_pod(control_plane="operator", app_id="x"), "myns", "cannot have annotation 'dapr.io/app-id'"),
        (_pod(app_id="other"), "myns", "app-id mismatch. expected: other, received: myapp"),
        (_pod(app_id="myapp", config="gone"), "myns", "failed to get configuration"),
        (_pod(app_id="myapp", config=""), "myns", "failed to get configuration"),
        ({**_pod(app_id="myapp"), "spec": {"serviceAccountName": "other"}}, "myns", "pod service account mismatch"),
        ({**_pod(app_id="myapp"), "metadata": {"name": "other"}}, "myns", "failed to get pod of identity"),
    ],
)
async def test_pods_that_are_not_believed(kubernetes: Server, api: kube.Api, pod: Any, own: str, reason: str) -> None:
    kubernetes.lists["/api/v1/pods"] = [pod]
    with pytest.raises(validators.Refused, match=reason):
        await Kubernetes(api, spiffe.sentry("cluster.local", own)).validate(_request())


@pytest.mark.parametrize(
    ("review", "reason"),
    [
        ({"error": "bad", "authenticated": True}, "invalid token: bad"),
        ({}, "authentication failed"),
        ({"authenticated": True, "user": {"username": "somebody"}}, "not a properly structured service account token"),
        (
            {"authenticated": True, "user": {"username": "system:serviceaccount:elsewhere:myaccount"}},
            "failed to get pod of identity",
        ),
    ],
)
async def test_tokens_that_are_not_believed(
    kubernetes: Server, api: kube.Api, review: dict[str, Any], reason: str
) -> None:
    kubernetes.review = review
    with pytest.raises(validators.Refused, match=reason):
        await Kubernetes(api, SENTRY).validate(_request())


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"token": _token({})}, "kubernetes.io/pod/name claim is missing"),
        ({"token": _token({"kubernetes.io": {"pod": {"name": ""}}})}, "kubernetes.io/pod/name claim is missing"),
        ({"token": "a.!.c"}, "failed to parse Kubernetes token"),
        ({"token": "[" * 30_000}, "failed to parse Kubernetes token"),
        ({"namespace": "other"}, "namespace mismatch; received namespace: other"),
        ({"id": "a" * 65}, "app ID must be 64 characters or less"),
    ],
)
async def test_requests_that_are_refused(
    kubernetes: Server, api: kube.Api, fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(validators.Refused, match=reason):
        await Kubernetes(api, SENTRY).validate(_request(**fields))


async def test_without_an_api_server_nobody_is_believed() -> None:
    gone = kube.Api(kube.Access("http://127.0.0.1:1"))
    with pytest.raises(validators.Refused, match="token review failed"):
        await Kubernetes(gone, SENTRY).validate(_request())


# -- the store --


def _kept(api: kube.Api) -> store.Cluster:
    return store.Cluster(api, "dapr-system", ["x/ca.crt"])


def _data(made: bundle.Bundle) -> dict[str, str]:
    return {os.path.basename(path): base64.b64encode(content).decode() for path, content in bundle.files(made, *FILES)}


async def test_a_new_authority_is_put_into_secret_and_configmap(kubernetes: Server, api: kube.Api) -> None:
    kubernetes.objects = {SECRET: {"metadata": {"resourceVersion": "7"}}, MAP: {"data": {"other": "kept"}}}
    kept = _kept(api)
    await kept.refresh()
    assert bundle.load(kept.read, *FILES, issuing.now()) is None
    made = issuing.made()
    await kept.write(bundle.files(made, *FILES))
    assert kubernetes.objects[SECRET] == {"metadata": {"resourceVersion": "7"}, "data": _data(made)}
    assert kubernetes.objects[MAP]["data"] == {"other": "kept", "ca.crt": made.anchors.decode()}
    again = _kept(api)
    await again.refresh()
    found = bundle.load(again.read, *FILES, issuing.now())
    assert found is not None and found.chain == made.chain


async def test_an_authority_that_is_there_is_published_and_never_replaced(kubernetes: Server, api: kube.Api) -> None:
    made = issuing.made()
    kubernetes.objects = {SECRET: {"data": _data(made)}, MAP: {"data": {"ca.crt": "older"}}}
    kept = _kept(api)
    await kept.refresh()
    assert kubernetes.objects[MAP]["data"]["ca.crt"] == made.anchors.decode()
    with pytest.raises(first_start.Taken, match="somebody else was faster"):
        await kept.write(bundle.files(issuing.made(), *FILES))
    assert kubernetes.objects[SECRET] == {"data": _data(made)}


@pytest.mark.parametrize("path", [SECRET, MAP])
async def test_of_sentries_that_start_together_the_slower_one_looks_again(
    kubernetes: Server, api: kube.Api, path: str
) -> None:
    kubernetes.objects = {SECRET: {}, MAP: {}}
    kubernetes.refusals = [path]
    kept = _kept(api)
    await kept.refresh()
    with pytest.raises(first_start.Taken, match="the object has been modified"):
        await kept.write(bundle.files(issuing.made(), *FILES))


async def test_a_part_of_an_authority_is_refused(kubernetes: Server, api: kube.Api) -> None:
    data = _data(issuing.made())
    del data["issuer.key"]
    kubernetes.objects = {SECRET: {"data": data}, MAP: {}}
    kept = _kept(api)
    await kept.refresh()
    with pytest.raises(bundle.Refused, match=r"issuer\.key is missing beside ca\.crt in the secret"):
        bundle.load(kept.read, *FILES, issuing.now())


async def test_a_secret_has_to_be_there(api: kube.Api) -> None:
    with pytest.raises(bundle.Refused, match=r"failed to get trust bundle secret: .* not found"):
        await _kept(api).refresh()


# -- the rest --


async def test_the_configuration_comes_from_the_api_server(kubernetes: Server, api: kube.Api) -> None:
    path = "/apis/dapr.io/v1alpha1/namespaces/dapr-system/configurations/daprsystem"
    with pytest.raises(configuration.Invalid, match='find config name "daprsystem": config CRD not found'):
        await cluster.rules(api, "dapr-system", "daprsystem")
    kubernetes.objects[path] = {"kind": "Configuration", "spec": {"mtls": {"workloadCertTTL": "1h"}}}
    rules = await cluster.rules(api, "dapr-system", "daprsystem")
    assert rules.workload_seconds == 3600
    assert (rules.validators, rules.default_validator) == ({token.KUBERNETES: {}}, token.KUBERNETES)
    kubernetes.objects[path] = {"spec": {"mtls": {"workloadCertTTL": "x"}}}
    with pytest.raises(configuration.Invalid, match="error parsing WorkloadCertTTL"):
        await cluster.rules(api, "dapr-system", "daprsystem")


def test_nobody_runs_it_as_root_in_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(cluster.Refused, match=r"current user UID\(0\) is root"):
        cluster.check_user({})
    cluster.check_user({"DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK": "true"})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    cluster.check_user({})


def test_the_namespace_has_to_be_known_in_a_cluster() -> None:
    cluster.check_namespace({"NAMESPACE": "x"})
    for environ, reason in (({}, "not set"), ({"NAMESPACE": ""}, "is empty")):
        with pytest.raises(cluster.Refused, match=f"'NAMESPACE' environment variable {reason}"):
            cluster.check_namespace(environ)


KUBECONFIG: dict[str, Any] = {
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    "clusters": [{"name": "k", "cluster": {"server": "https://host:1/", "certificate-authority": "ca.pem"}}],
    "users": [{"name": "u", "user": {"client-certificate": "ca.pem", "client-key-data": "S0VZ", "tokenFile": "t"}}],
}


def test_a_kubeconfig_file_says_where_and_how(tmp_path: Path) -> None:
    anchors = issuing.made().anchors.decode()
    (tmp_path / "ca.pem").write_text(anchors)
    path = tmp_path / "config"
    path.write_text(json.dumps(KUBECONFIG))
    access = kube.find(str(path), {})
    assert (access.url, access.ca, access.certificate, access.key) == ("https://host:1", anchors, anchors, "KEY")
    assert access.token_file == str(tmp_path / "t")
    assert access.verify


@pytest.mark.parametrize(
    ("member", "value", "reason"),
    [
        ("current-context", "x", "there is no context 'x'"),
        ("contexts", None, "kubeconfig"),
        ("users", [{"name": "u", "user": {"exec": {"command": "x"}}}], "signing in by 'exec' is not available"),
        ("users", [{"name": "u", "user": {"client-key-data": "!"}}], "client-key-data"),
        ("clusters", [{"name": "k", "cluster": {"proxy-url": "x"}}], "proxy-url is not available"),
        ("clusters", [{"name": "k", "cluster": {"certificate-authority": "gone"}}], "gone: no such file"),
    ],
)
def test_what_a_kubeconfig_file_may_not_say(tmp_path: Path, member: str, value: Any, reason: str) -> None:
    path = tmp_path / "config"
    (tmp_path / "ca.pem").write_text("x")
    path.write_text(json.dumps({**KUBECONFIG, member: value}))
    with pytest.raises(kube.Failed, match=reason):
        kube.read(str(path))


def test_without_a_kubeconfig_file_there_is_no_api_server(tmp_path: Path) -> None:
    with pytest.raises(kube.Failed, match="no such file or directory"):
        kube.find(str(tmp_path / "gone"), {"KUBERNETES_SERVICE_HOST": "anything"})


def test_certificates_that_are_none_are_told() -> None:
    with pytest.raises(kube.Failed, match="TLS towards https://x"):
        kube.Api(kube.Access("https://x", ca="nonsense"))
