"""Paths spelt so that a guard reads one thing and who answers another.

What of a path reaches an app is in `tests/integration/invoke/test_paths.py`, what access rules make of it in
`tests/unit/api/test_internal.py`.
"""

import pytest
from tests.integration.harness import Sidecar, World, free_port

TRICKS = [
    "/v1.0/healthz/../metadata",
    "/v1.0/healthz/outbound/../../metadata",
    "/v1.0/healthz%2f..%2fmetadata",
    "/v1.0/healthz/%2e%2e/metadata",
    "/v1.0/healthz/;/metadata",
    "/v1.0/healthz;/../metadata",
    "/v1.0/healthz%00/../metadata",
    "/v1.0/healthz/",
    "//v1.0/healthz",
    "/v1.0//healthz",
    "/V1.0/healthz",
    "/v1.0/healthz%3f",
    "/v1.0/healthz%23",
    "http://127.0.0.1/v1.0/metadata",
    "http://x/v1.0/healthz/../metadata",
]


DENIED = """
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: c}
spec:
  api:
    denied:
    - {name: metadata, version: v1.0, protocol: http}
    - {name: shutdown, version: v1.0, protocol: http}
    - {name: invoke, version: v1.0, protocol: http}
"""


@pytest.fixture(scope="module")
def guarded(shared_world: World) -> Sidecar:
    """A sidecar whose API wants a token."""
    return shared_world.daprd("guarded", None, environment={"DAPR_API_TOKEN": "secret"}).await_ready()


@pytest.fixture(scope="module")
def closed(shared_world: World) -> Sidecar:
    """A sidecar of an app, most of whose API is closed."""
    config = shared_world.write("closed.yaml", DENIED)
    return shared_world.sidecar("closed", shared_world.app(), "--config", str(config))


@pytest.fixture(scope="module")
def public(shared_world: World) -> tuple[Sidecar, int]:
    """A sidecar and its public port."""
    port = free_port()
    return shared_world.sidecar("public", None, "--dapr-public-port", str(port)), port


@pytest.mark.parametrize("target", TRICKS)
def test_only_the_health_check_itself_needs_no_token(guarded: Sidecar, target: str) -> None:
    answer = guarded.call("GET", target)

    assert (answer.status, answer.body) == (401, b"invalid api token\n")


@pytest.mark.parametrize("given", ["", "Secret", "secre", "secrets", "secret ,secret", "%73ecret", "Bearer secret"])
def test_only_the_whole_token_is_the_token(guarded: Sidecar, given: str) -> None:
    assert guarded.call("GET", "/v1.0/metadata", f"dapr-api-token: {given}").status == 401
    assert guarded.call("GET", "/v1.0/metadata", "dapr-api-token: x", "dapr-api-token: secret").status == 401


@pytest.mark.parametrize(
    ("verb", "target", "headers"),
    [
        ("GET", "/v1.0/metadata", ()),
        ("GET", "/v1.0/metadata/", ()),
        ("GET", "/v1.0//metadata", ()),
        ("GET", "//v1.0/metadata", ()),
        ("GET", "/v1.0/./metadata", ()),
        ("GET", "/v1.0/x/../metadata", ()),
        ("GET", "/v1.0/%6detadata", ()),
        ("GET", "/v1.0%2fmetadata", ()),
        ("GET", "http://x/v1.0/metadata", ()),
        ("PUT", "/v1.0/metadata/a", ()),
        ("POST", "/v1.0/shutdown", ()),
        ("POST", "/v1.0/shutdown/", ()),
        ("POST", "/v1.0/shutdown?x", ()),
        ("GET", "/v1.0/invoke/{app}/method/m", ()),
        ("GET", "/v1.0//invoke/{app}/method/m", ()),
        ("GET", "/v1.0/invoke%2f{app}/method/m", ()),
        ("GET", "/m", ("dapr-app-id: {app}",)),
        ("GET", "/m", ("Authorization: Basic ZGFwci1hcHAtaWQ6eA==",)),
    ],
)
def test_what_the_configuration_closes_is_closed_however_it_is_spelt(
    shared_world: World, closed: Sidecar, verb: str, target: str, headers: tuple[str, ...]
) -> None:
    named = {"app": closed.app_id}

    answer = closed.call(verb, target.format(**named), *[header.format(**named) for header in headers])

    assert (answer.status, answer.body) == (404, b"404 page not found\n")
    assert not shared_world.apps[0].seen
    assert closed.status("/v1.0/healthz") == 204


@pytest.mark.parametrize(
    ("verb", "target"),
    [
        ("POST", "/v1.0/healthz/../shutdown"),
        ("POST", "/v1.0/metadata/../shutdown"),
        ("GET", "/v1.0/metadata/../secrets/x/y"),
        ("GET", "/v1.0/metadata%2f..%2fsecrets/x/y"),
        ("GET", "//v1.0/secrets/x/y"),
        ("GET", "/v1.0/invoke/x/method/y"),
    ],
)
def test_the_public_port_has_no_way_to_the_rest(public: tuple[Sidecar, int], verb: str, target: str) -> None:
    sidecar, port = public

    assert sidecar.call(verb, target, port=port).status in (404, 405)
    assert sidecar.status("/v1.0/healthz") == 204
