"""The identity of a control-plane service: its trust anchors come first, and nothing is taken that is none."""

import asyncio
from pathlib import Path

import pytest
from tests.unit.security import issuing

from pydapr.controlplane import identity
from pydapr.controlplane.process import Fatal
from pydapr.security import anchor_file


def wanted(file: str, **other: str) -> identity.Wanted:
    given = {
        "service": "dapr-placement",
        "namespace": "default",
        "trust_domain": "localhost",
        "sentry_address": "127.0.0.1:1",
        "mode": "standalone",
        **other,
    }
    return identity.Wanted(trust_anchors_file=file, **given)


def test_it_is_known_by_domain_namespace_and_service() -> None:
    made = identity.Identity(wanted("x", namespace="dapr-system", trust_domain="cluster.local"), {})
    assert str(made.id) == "spiffe://cluster.local/ns/dapr-system/dapr-placement"


def test_a_trust_domain_that_is_none_is_refused() -> None:
    with pytest.raises(Fatal, match="invalid trust domain or namespace"):
        identity.Identity(wanted("x", trust_domain="no domain"), {})


async def test_no_file_of_trust_anchors_is_refused() -> None:
    with pytest.raises(Fatal, match="--trust-anchors-file"):
        await identity.Identity(wanted(""), {}).open()


async def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("nothing")
    with pytest.raises(Fatal, match="failed to read trust anchors"):
        await identity.Identity(wanted(str(tmp_path / "ca.crt")), {}).open()


async def test_it_waits_for_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anchor_file, "FILE_SECONDS", 0.001)
    made = identity.Identity(wanted(str(tmp_path / "ca.crt")), {})
    waiting = asyncio.create_task(made._first_anchors())
    await asyncio.sleep(0)
    assert not waiting.done()
    (tmp_path / "ca.crt").write_bytes(issuing.made().anchors)
    assert (await waiting).pem
