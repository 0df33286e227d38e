"""No secret is in any line of sentry and of a scheduler with an etcd of others, at level debug, while they refuse and
fail; nor of a sidecar whose collectors want a password.
"""

from pathlib import Path

import pytest
from tests.integration.harness import World, eventually, free_port
from tests.integration.scheduler.process import Scheduler
from tests.integration.sentry.authority import CONFIGURATION, Authority

from pydapr.security import svid

NOBODY = "127.0.0.1:1"

TRACING = f"""
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {{name: c}}
spec:
  tracing:
    samplingRate: "1"
    zipkin: {{endpointAddress: "http://user:zipkin-hush@{NOBODY}/api/v2/spans?key=query-hush"}}
    otel:
      endpointAddress: user:otlp-hush@{NOBODY}
      protocol: http
      isSecure: false
      headers: ["api-key=header-hush"]
"""


def hushed(text: str) -> list[str]:
    return [line for line in text.splitlines() if "hush" in line or "PRIVATE KEY" in line]


async def test_sentry_says_nothing_of_keys_and_tokens(tmp_path: Path) -> None:
    keys, token = tmp_path / "keys.json", tmp_path / "token"
    keys.write_text('{"keys": []}')
    token.write_text("eyJ0b2tlbiI6Imh1c2gifQ.token-hush.hush")
    validators = f"    tokenValidators:\n    - name: jwks\n      options: {{source: {keys}}}\n"
    sentry = Authority(tmp_path, "--log-level=debug", "--jwt-enabled=true", configuration=CONFIGURATION + validators)
    try:
        sentry.await_ready()
        with pytest.raises(svid.Unavailable):
            await sentry.source(DAPR_SENTRY_TOKEN_FILE=str(token))
        assert sentry.stop() == 0
    finally:
        sentry.kill()
    assert "PRIVATE KEY" in (sentry.credentials / "issuer.key").read_text()
    assert hushed(sentry.log) == []


def test_sentry_says_nothing_of_the_password_of_keys_that_it_cannot_get(tmp_path: Path) -> None:
    source = f"http://user:keys-hush@{NOBODY}/keys?key=query-hush"
    validators = f"    tokenValidators:\n    - name: jwks\n      options: {{source: '{source}'}}\n"
    sentry = Authority(tmp_path, "--log-level=debug", configuration=CONFIGURATION + validators)
    try:
        assert sentry.exit_code() == 1
    finally:
        sentry.kill()
    assert "failed to fetch JWKS" in sentry.log
    assert hushed(sentry.log) == []


def test_a_scheduler_says_nothing_of_the_password_of_its_etcd(tmp_path: Path) -> None:
    flags = ("--etcd-embed=false", f"--etcd-client-endpoints={NOBODY}", "--log-level=debug")
    scheduler = Scheduler(tmp_path, *flags, "--etcd-client-username=user", "--etcd-client-password=etcd-hush")
    try:
        eventually(lambda: NOBODY in scheduler.log, "it tells what cannot be reached")
    finally:
        scheduler.kill()
    assert hushed(scheduler.log) == []


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_collectors_that_want_a_password_are_away(world: World, protocol: str) -> None:
    config = world.write("config.yaml", TRACING)
    environment = {
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://user:variable-hush@127.0.0.1:{free_port()}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20hush",
    }
    sidecar = world.daprd("app", None, "--config", str(config), "--log-level", "debug", environment=environment)
    sidecar.await_ready().call("GET", "/v1.0/metadata")
    assert sidecar.stop() == 0
    assert "Spans were not exported" in sidecar.log and "Metrics were not exported" in sidecar.log
    assert hushed(sidecar.log) == []


@pytest.mark.parametrize("headers", ["authorization hush", "a=b,hush", "Bearer hush=="])
def test_headers_that_are_none_end_the_start_without_being_told(world: World, headers: str) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{NOBODY}", "OTEL_EXPORTER_OTLP_HEADERS": headers}
    sidecar = world.daprd("app", None, environment=environment)
    assert sidecar.exit_code() == 1
    assert "is not name=value" in sidecar.log
    assert hushed(sidecar.log) == []
