"""The authority's files: made on the first start, kept ever after, taken over when they change."""

import datetime
import json
import os
import signal
import ssl
import stat
from pathlib import Path

import pytest
from tests.integration import harness
from tests.integration.sentry.authority import THEIRS
from tests.integration.sentry.conftest import Start
from tests.unit.security import issuing

from pydapr.security import certificates, pem
from pydapr.sentry import bundle, first_start

FILES = ("ca.crt", "issuer.crt", "issuer.key")


def _contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder))}


def _write(folder: Path, made: bundle.Bundle) -> None:
    """Puts another authority there, file by file as an operator would."""
    for name, content in bundle.files(made, *FILES):
        (folder / f"{name}.new").write_bytes(content)
        os.replace(folder / f"{name}.new", folder / name)


async def test_an_authority_is_made_once_and_is_the_same_after_a_restart(ready: Start) -> None:
    first = ready()
    before = _contents(first.credentials)
    assert set(before) == set(FILES)
    assert {stat.S_IMODE((first.credentials / name).stat().st_mode) for name in FILES} == {0o600}
    assert "Root and issuer certs not found: generating self signed CA" in first.log
    await first.source("myapp")
    assert first.stop() == 0
    assert "Sentry shut down gracefully" in first.log
    second = ready()
    assert _contents(second.credentials) == before
    assert "Root and issuer certs found: using credentials from store" in second.log
    await second.source("myapp")


def test_keys_for_tokens_are_made_beside_an_authority_that_is_there(ready: Start) -> None:
    first = ready()
    before = _contents(first.credentials)
    first.stop()
    after = _contents(ready("--jwt-enabled").credentials)
    assert set(after) - set(before) == {"jwt.key", "jwks.json"}
    assert {name: after[name] for name in before} == before


def test_sentries_that_start_together_are_one_authority(start: Start, tmp_path: Path) -> None:
    sentries = [start("--jwt-enabled", folder=tmp_path) for _ in range(3)]
    for sentry in sentries:
        sentry.await_ready()
    log = sentries[0].log
    assert set(_contents(sentries[0].credentials)) == {*FILES, "jwt.key", "jwks.json"}
    assert log.count("Self-signed certs and JWT root key generated and persisted successfully") == 1
    shown = {ssl.get_server_certificate(("127.0.0.1", sentry.port)) for sentry in sentries}
    issuer = certificates.read_all((sentries[0].credentials / "issuer.crt").read_bytes())[0]
    assert all(certificates.is_signed_by(certificates.read_all(one.encode())[0], issuer) for one in shown)


def test_a_first_start_that_was_cut_off_is_gone_on_with(ready: Start, tmp_path: Path) -> None:
    """As `kill -9` may leave it: what was made is written down, and of the files one is there."""
    made = {name: content.decode() for name, content in bundle.files(issuing.made(), *FILES)}
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / first_start.NAME).write_text(json.dumps(made))
    (folder / "issuer.key").write_text(made["issuer.key"])
    sentry = ready()
    assert {name: content.decode() for name, content in _contents(sentry.credentials).items()} == made


@pytest.mark.parametrize("missing", FILES)
def test_a_part_of_an_authority_is_refused_and_left_as_it_is(start: Start, ready: Start, missing: str) -> None:
    first = ready()
    first.stop()
    (first.credentials / missing).unlink()
    before = _contents(first.credentials)
    second = start()
    assert second.exit_code() == 1
    assert f"{missing} is missing beside" in second.log
    assert _contents(second.credentials) == before


@pytest.mark.parametrize("name", ["jwt.key", "jwks.json"])
def test_a_part_of_the_keys_for_tokens_is_refused_and_left_as_it_is(start: Start, ready: Start, name: str) -> None:
    first = ready("--jwt-enabled")
    first.stop()
    (first.credentials / name).unlink()
    before = _contents(first.credentials)
    second = start("--jwt-enabled")
    assert second.exit_code() == 1
    assert f"{name} is missing beside" in second.log
    assert _contents(second.credentials) == before


def test_parts_of_two_authorities_are_refused_and_left_as_they_are(start: Start, ready: Start) -> None:
    first = ready()
    first.stop()
    (first.credentials / "ca.crt").write_bytes(issuing.made().anchors)
    before = _contents(first.credentials)
    second = start()
    assert second.exit_code() == 1
    assert "failed to verify CA bundle: issuer chain does not belong to trust anchors" in second.log
    assert _contents(second.credentials) == before


@pytest.mark.parametrize(("age", "says"), [(300, ""), (340, "certificate expires in 24 days and 23 hours")])
def test_an_authority_that_ends_soon_is_told_of(ready: Start, tmp_path: Path, age: int, says: str) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    _write(folder, issuing.made(at=issuing.now() - datetime.timedelta(days=age)))
    log = ready().log
    warning = "Dapr root certificate expiration warning: "
    assert (warning + says in log) if says else (warning not in log)


def test_files_that_cannot_be_used_are_told_of_even_to_who_does_not_wait(start: Start, tmp_path: Path) -> None:
    """On a busy machine a start takes longer than some supervisors wait before they end it."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text("nonsense")
    sentry = start()
    harness.eventually(lambda: "Starting Dapr Sentry" in sentry.log, "it has begun")
    sentry.process.send_signal(signal.SIGINT)
    assert sentry.exit_code() == 1
    assert "failed to verify CA bundle" in sentry.log


def test_a_folder_that_is_not_there_is_named(start: Start, tmp_path: Path) -> None:
    sentry = start(f"--issuer-credentials={tmp_path}/nowhere")
    assert sentry.exit_code() == 1
    assert f"failed to add target {tmp_path}/nowhere: no such file or directory" in sentry.log


async def test_an_authority_that_changes_is_taken_over_without_a_break(ready: Start) -> None:
    sentry = ready()
    other = issuing.made()
    before = await sentry.source("myapp")
    _write(sentry.credentials, other)
    harness.eventually(
        lambda: sentry.log.count("CA certificate key pair ready") == 2, "the other authority is taken over"
    )
    after = await sentry.source("myapp")
    chains = [certificates.read_all(one.identity.chain) for one in (before, after)]
    assert chains[0][1] != chains[1][1] == other.issuer
    expected = int(other.issuer.not_valid_after_utc.timestamp())
    assert sentry.metrics()["dapr_sentry_issuercert_expiry_timestamp"] == expected
    assert sentry.metrics()["dapr_sentry_issuercert_changed_total"] == 2


async def test_a_change_that_cannot_be_used_is_told_and_changes_nothing(ready: Start) -> None:
    sentry = ready()
    key = (sentry.credentials / "issuer.key").read_bytes()
    (sentry.credentials / "issuer.key").write_text("nonsense")
    harness.eventually(lambda: "what was there before stays in force" in sentry.log, "the fault is told")
    assert "key is not PEM encoded" in sentry.log
    await sentry.source("myapp")
    (sentry.credentials / "issuer.key").write_bytes(key)
    (sentry.credentials / "issuer.crt").write_bytes(_of_an_unknown_kind(sentry.credentials))
    harness.eventually(lambda: "unrecognised public key" in sentry.log, "the second fault is told")
    await sentry.source("myapp")


def _of_an_unknown_kind(folder: Path) -> bytes:
    """The issuer's certificate, for a key that is none of those we know."""
    der = pem.blocks((folder / "issuer.crt").read_bytes())[0][1]
    ed25519, unknown = b"\x06\x03\x2b\x65\x70", b"\x06\x03\x2b\x65\x12"
    at = der.rindex(ed25519, 0, der.rindex(ed25519))
    return pem.encode("CERTIFICATE", der[:at] + unknown + der[at + len(unknown) :])


@pytest.mark.skipif(not harness.ORIGINAL, reason="PYDAPR_ORIGINAL names no original executables")
async def test_the_originals_files_are_ours_and_the_other_way_round(ready: Start) -> None:
    theirs = ready("--jwt-enabled", program=THEIRS)
    theirs.stop()
    before = _contents(theirs.credentials)
    ours = ready("--jwt-enabled")
    await ours.source("myapp")
    ours.stop()
    assert _contents(ours.credentials) == before
    for name in before:
        (ours.credentials / name).unlink()
    ready("--jwt-enabled").stop()
    await ready("--jwt-enabled", program=THEIRS).source("myapp")
