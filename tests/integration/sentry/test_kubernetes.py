"""Mode kubernetes, with a stand-in for the API server: from an empty secret to certificates for pods."""

import asyncio
import base64
import json
from pathlib import Path

import pytest
from tests.integration.sentry.conftest import Start
from tests.unit.sentry.test_kubernetes import MAP, SECRET, Server

from pydapr.net import server
from pydapr.security import svid

CONFIGURATION = "/apis/dapr.io/v1alpha1/namespaces/dapr-system/configurations/daprsystem"


def _kubeconfig(folder: Path, url: str) -> Path:
    path = folder / "kubeconfig"
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k"}}],
        "clusters": [{"name": "k", "cluster": {"server": url}}],
    }
    path.write_text(json.dumps(document))
    return path


async def test_pods_get_certificates_of_an_authority_that_is_kept_in_a_secret(ready: Start, tmp_path: Path) -> None:
    kubernetes = Server()
    kubernetes.objects = {SECRET: {}, MAP: {}, CONFIGURATION: {"spec": {"mtls": {"workloadCertTTL": "2h"}}}}
    one = server.Server(kubernetes)
    port = await one.listen("127.0.0.1", 0)
    flags = ("--mode=kubernetes", "--config=daprsystem", "--trust-domain=cluster.local")
    kubeconfig = _kubeconfig(tmp_path, f"http://127.0.0.1:{port}")
    environment = {"NAMESPACE": "dapr-system", "DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK": "true"}
    sentry = await asyncio.to_thread(ready, *flags, f"--kubeconfig={kubeconfig}", environment=environment)
    kept = kubernetes.objects[SECRET]["data"]
    assert set(kept) == {"ca.crt", "issuer.crt", "issuer.key"}
    (sentry.credentials / "ca.crt").write_bytes(base64.b64decode(kept["ca.crt"]))
    assert kubernetes.objects[MAP]["data"]["ca.crt"] == sentry.anchors
    token = tmp_path / "token"
    token.write_text(json.dumps({"kubernetes.io": {"pod": {"name": "mypod"}}}))
    asker = sentry.asker(
        "myapp", "myns", "cluster.local", sentry_namespace="dapr-system", DAPR_SENTRY_TOKEN_FILE=str(token)
    )
    source = svid.Source(asker, sentry.trusted())
    await source.open()
    assert str(source.identity.id) == "spiffe://public/ns/myns/myapp"
    assert source.identity.not_after - source.identity.not_before == 2 * 3600 + 900
    kubernetes.review = {}
    with pytest.raises(svid.Unavailable, match="code = PermissionDenied desc = authentication failed"):
        await source.renew()
    await one.stop(0)


def test_without_an_api_server_it_does_not_start(start: Start, tmp_path: Path) -> None:
    environment = {"NAMESPACE": "x", "DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK": "true"}
    sentry = start("--mode=kubernetes", f"--kubeconfig={tmp_path}/gone", environment=environment)
    assert sentry.exit_code() == 1
    assert "/gone: no such file or directory" in sentry.log
