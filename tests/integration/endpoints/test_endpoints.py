"""HTTPEndpoint resources: servers outside of Dapr that are called by a name."""

from collections.abc import Iterator

import pytest
from tests.integration import http_wire
from tests.integration.harness import Sidecar, World
from tests.integration.http_wire import App, Message, Wire

RESOURCE = """
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata:
  name: {name}
spec:
  baseUrl: {base}
"""

HEADERS = """
  headers:
  - name: X-Key
    value: secret
  - name: X-Region
    envRef: REGION
"""


@pytest.fixture(scope="module")
def outside(shared_world: World) -> App:
    return shared_world.app()


@pytest.fixture(scope="module")
def running(shared_world: World, outside: App) -> Sidecar:
    base = f"http://localhost:{outside.port}"
    shared_world.write("resources/plain.yaml", RESOURCE.format(name="plain", base=base))
    shared_world.write("resources/deep.yaml", RESOURCE.format(name="deep", base=f"{base}/api/v2") + HEADERS)
    shared_world.write("resources/foreign.yaml", RESOURCE.format(name="foreign", base=base) + "scopes: [another-app]\n")
    shared_world.write("resources/odd.yaml", RESOURCE.format(name="odd", base="ftp://files.example"))
    token = "\n  headers:\n  - name: Authorization\n    secretKeyRef: {name: vault, key: token}\n"
    shared_world.write("resources/vaulted.yaml", RESOURCE.format(name="vaulted", base=base) + token)
    folder = str(shared_world.folder / "resources")
    sidecar = shared_world.daprd("caller", None, "--resources-path", folder, environment={"REGION": "eu"})
    return sidecar.await_ready()


@pytest.fixture
def sidecar(running: Sidecar, outside: App) -> Iterator[Sidecar]:
    outside.handler = http_wire.echo
    outside.seen.clear()
    yield running
    running.disconnect()


def test_endpoint_is_called_by_its_name(sidecar: Sidecar, outside: App) -> None:
    reply = sidecar.call("POST", "/v1.0/invoke/plain/method/a/b?q=1", "Content-Type: text/plain", body=b"hello")

    assert (reply.status, reply.body) == (200, b"hello")
    assert (outside.last.verb, outside.last.target) == ("POST", "/a/b?q=1")
    assert outside.last.get("host") == f"localhost:{outside.port}"


def test_endpoint_is_called_by_the_app_id_header(sidecar: Sidecar, outside: App) -> None:
    assert sidecar.call("GET", "/x", "dapr-app-id: plain").status == 200
    assert outside.last.target == "/x"


def test_namespace_behind_the_name_does_not_matter(sidecar: Sidecar) -> None:
    assert sidecar.call("GET", "/v1.0/invoke/plain.anywhere/method/x").status == 200


def test_path_of_the_base_url_comes_first(sidecar: Sidecar, outside: App) -> None:
    sidecar.call("GET", "/v1.0/invoke/deep/method/items")

    assert outside.last.target == "/api/v2/items"


def test_headers_of_the_resource_replace_those_of_the_client(sidecar: Sidecar, outside: App) -> None:
    sidecar.call("GET", "/v1.0/invoke/deep/method/items", "X-Key: mine", "X-Other: mine")

    assert outside.last.all("x-key") == ["secret"]
    assert outside.last.get("x-region") == "eu"
    assert outside.last.get("x-other") == "mine"


def test_endpoint_with_other_scopes_is_not_there(sidecar: Sidecar) -> None:
    reply = sidecar.call("GET", "/v1.0/invoke/foreign/method/x")

    assert reply.status == 500
    assert b"couldn't find service: foreign" in reply.body


def test_metadata_lists_the_endpoints(sidecar: Sidecar) -> None:
    named = [one["name"] for one in sidecar.document("GET", "/v1.0/metadata")["httpEndpoints"]]

    assert named == ["deep", "odd", "plain", "vaulted"]
    assert "Found http endpoint: plain" in sidecar.messages()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vaulted", "is to come from key token of secret vault, but the resource names no store"),
        ("odd", "is no http(s) URL with a host"),
    ],
)
def test_endpoint_that_cannot_be_had_as_described_is_never_called(
    sidecar: Sidecar, outside: App, name: str, reason: str
) -> None:
    reply = sidecar.call("GET", f"/v1.0/invoke/{name}/method/x")

    assert reply.status == 500
    assert reason.encode() in reply.body
    assert not outside.seen
    assert any(line.startswith(f"HTTPEndpoint {name}") and reason in line for line in sidecar.messages())


def redirecting(status: str, to: str, below: str = "/old") -> http_wire.Handler:
    """An app that sends requests below a path elsewhere and echoes all others."""

    def handle(wire: Wire, request: Message) -> None:
        if below in request.target:
            request.body = b"".join(wire.pieces())
            wire.send(http_wire.answer(status, f"Location: {to}"))
        else:
            http_wire.echo(wire, request)

    return handle


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "303 See Other"])
def test_redirect_of_a_post_is_followed_by_a_get(sidecar: Sidecar, outside: App, status: str) -> None:
    outside.handler = redirecting(status, "/new?q=2")

    reply = sidecar.call("POST", "/v1.0/invoke/plain/method/old", "Content-Type: a/b", body=b"hello")

    assert (reply.status, reply.body) == (200, b"")
    assert [(one.verb, one.target) for one in outside.seen] == [("POST", "/old"), ("GET", "/new?q=2")]
    assert outside.last.get("content-type") is None


def test_temporary_redirect_of_a_body_is_handed_to_the_client(sidecar: Sidecar, outside: App) -> None:
    outside.handler = redirecting("307 Temporary Redirect", "/new")

    reply = sidecar.call("POST", "/v1.0/invoke/plain/method/old", body=b"hello")

    assert (reply.status, reply.get("location")) == (307, "/new")


def test_redirect_to_itself_ends_with_an_error(sidecar: Sidecar, outside: App) -> None:
    outside.handler = redirecting("302 Found", "/old")

    reply = sidecar.call("GET", "/v1.0/invoke/plain/method/old")

    assert reply.status == 500
    assert b"stopped after 10 redirects" in reply.body


def test_redirect_to_another_host_does_not_carry_secrets_there(
    sidecar: Sidecar, outside: App, shared_world: World
) -> None:
    elsewhere = shared_world.app()
    outside.handler = redirecting("302 Found", f"http://127.0.0.1:{elsewhere.port}/there")

    reply = sidecar.call("GET", "/v1.0/invoke/deep/method/old", "Authorization: Bearer x", "X-Other: y")

    assert reply.status == 200
    assert elsewhere.last.target == "/there"
    assert elsewhere.last.get("x-other") == "y"
    assert elsewhere.last.get("authorization") is None
    assert elsewhere.last.get("x-key") is None


def test_url_as_target_hands_redirects_to_the_client(sidecar: Sidecar, outside: App) -> None:
    outside.handler = redirecting("302 Found", "/new")

    reply = sidecar.call("GET", f"/v1.0/invoke/http://localhost:{outside.port}/method/old")

    assert reply.status == 302
