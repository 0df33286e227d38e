"""With the originals: their daprd gets its certificate from our sentry, our client gets one from theirs.

Runs when PYDAPR_ORIGINAL names the folder of the original executables.
"""

import os
from pathlib import Path

import pytest
from tests.integration import harness
from tests.integration.sentry.authority import OURS, THEIRS
from tests.integration.sentry.conftest import Start

from pydapr.security import svid

pytestmark = pytest.mark.skipif(not harness.ORIGINAL, reason="PYDAPR_ORIGINAL names no original executables")

DAPRD = [os.path.join(harness.ORIGINAL, "daprd")]


def test_original_sidecars_call_each_other_with_certificates_from_ours(world: harness.World, ready: Start) -> None:
    sentry = ready()
    flags = ("--enable-mtls", "--sentry-address", sentry.address, "--control-plane-trust-domain", "localhost")
    environment = {"DAPR_TRUST_ANCHORS": sentry.anchors}
    callee = world.daprd("callee", world.app(), *flags, environment=environment, program=DAPRD)
    caller = world.daprd("caller", None, *flags, environment=environment, program=DAPRD)
    callee.await_ready()
    caller.await_ready()
    answer = caller.call("POST", f"/v1.0/invoke/{callee.app_id}/method/some", body=b"hello")
    assert answer.status == 200
    assert b"hello" in answer.body
    assert sentry.metrics()["dapr_sentry_cert_sign_success_total"] == 2


@pytest.mark.parametrize("program", [OURS, THEIRS], ids=["ours", "original"])
async def test_our_client_gets_a_certificate_from_either(ready: Start, program: list[str]) -> None:
    sentry = ready("--jwt-enabled", program=program)
    source = await sentry.source("myapp")
    assert str(source.identity.id) == "spiffe://public/ns/default/myapp"
    assert set(source.identity.jwt_by_audience) == {"public"}
    service = await sentry.source("dapr-placement")
    assert str(service.identity.id) == "spiffe://localhost/ns/default/dapr-placement"


async def test_both_refuse_with_the_same_words_and_count_alike(ready: Start, tmp_path: Path) -> None:
    told: list[list[str]] = []
    counted: list[set[str]] = []
    for name, program in (("ours", OURS), ("original", THEIRS)):
        sentry = ready(program=program, folder=tmp_path / name)
        texts = []
        for app_id, namespace in (("a.b", "default"), ("a" * 65, ""), ("", "default"), ("a/b", "default")):
            with pytest.raises(svid.Unavailable) as refused:
                await svid.Source(sentry.asker(app_id, namespace), sentry.trusted()).open()
            texts.append(str(refused.value))
        told.append(texts)
        await sentry.source("good")
        counted.append({f"{metric} {value}" for metric, value in sentry.metrics().items() if "_sign_" in metric})
    assert told[0] == told[1]
    assert counted[0] == counted[1]
