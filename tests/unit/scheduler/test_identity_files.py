"""The identity as files: always a whole one, for its user only."""

import os
import stat
from pathlib import Path

import pytest

from pydapr.scheduler.identity_files import IdentityFolder
from pydapr.security import spiffe, svid, trust

ANCHORS = trust.Anchors("roots")


def identity(chain: bytes, jwt: str = "") -> svid.Identity:
    return svid.Identity(spiffe.Id("public", "ns", "dapr-scheduler"), chain, b"key", 0.0, 1.0, jwt)


def read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_certificate_key_and_anchors(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "tls"
    IdentityFolder(str(folder)).write(identity(b"chain"), ANCHORS)

    assert read(folder) == {"cert.pem": b"chain", "key.pem": b"key", "ca.pem": b"roots"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700


def test_the_next_one_takes_the_place_of_the_first_as_a_whole(tmp_path: Path) -> None:
    folder = IdentityFolder(str(tmp_path / "tls"))
    folder.write(identity(b"first", "token"), ANCHORS)
    opened = os.open(tmp_path / "tls", os.O_RDONLY)
    folder.write(identity(b"second"), ANCHORS)

    assert read(tmp_path / "tls") == {"cert.pem": b"second", "key.pem": b"key", "ca.pem": b"roots"}
    assert len(list(tmp_path.iterdir())) == 2  # the link, and where it leads
    os.close(opened)


def test_no_key_of_a_scheduler_before_us_stays(tmp_path: Path) -> None:
    IdentityFolder(str(tmp_path / "tls")).write(identity(b"first"), ANCHORS)
    IdentityFolder(str(tmp_path / "tls")).write(identity(b"second"), ANCHORS)

    assert read(tmp_path / "tls")["cert.pem"] == b"second"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_link_that_somebody_else_has_made_leads_to_what_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine").write_text("x")
    (tmp_path / "tls").symlink_to("own")
    IdentityFolder(str(tmp_path / "tls")).write(identity(b"chain"), ANCHORS)

    assert "cert.pem" in read(tmp_path / "tls")
    assert read(tmp_path / "own") == {"mine": b"x"}


def test_a_folder_that_is_there_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "mine").write_text("x")
    IdentityFolder(str(tmp_path / "tls")).write(identity(b"chain"), ANCHORS)

    assert "cert.pem" in read(tmp_path / "tls")
    assert [path.read_text() for path in tmp_path.glob("*.old/mine")] == ["x"]


def test_what_cannot_be_written_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    IdentityFolder(str(tmp_path / "file" / "tls")).write(identity(b"chain"), ANCHORS)

    assert "Failed to write the identity" in capfd.readouterr().out
