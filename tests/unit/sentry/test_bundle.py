"""The authority's files: made once, verified, and never overwritten."""

import datetime
import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from tests.unit.security import issuing

from pydapr.security import certificates, spiffe
from pydapr.sentry import bundle

Names = tuple[str, str, str]


@pytest.fixture
def names(tmp_path: Path) -> Names:
    return str(tmp_path / "ca.crt"), str(tmp_path / "issuer.crt"), str(tmp_path / "issuer.key")


def _write(made: bundle.Bundle, names: Names) -> None:
    bundle.write_new(bundle.files(made, *names))


def test_a_new_authority_is_the_originals_in_form() -> None:
    now = issuing.now()
    made = bundle.generate("cluster.local", "dapr-system", datetime.timedelta(minutes=15), now)
    root = certificates.read_all(made.anchors)[0]
    assert root.subject.rfc4514_string() == root.issuer.rfc4514_string() == "O=cluster.local"
    assert made.issuer.subject.rfc4514_string() == "O=spiffe://cluster.local/ns/dapr-system/dapr-sentry"
    assert made.issuer.issuer == root.subject
    for one in (root, made.issuer):
        assert one.not_valid_before_utc == (now - datetime.timedelta(minutes=15)).replace(microsecond=0)
        assert one.not_valid_after_utc == (now + datetime.timedelta(days=365)).replace(microsecond=0)
        constraints = one.extensions.get_extension_for_class(x509.BasicConstraints)
        assert constraints.critical and constraints.value.ca and constraints.value.path_length is None
        one.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    usage = made.issuer.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.key_cert_sign and usage.value.crl_sign and usage.value.digital_signature
    assert not root.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign


@pytest.mark.parametrize("parts", [("", "default"), ("Big", "default"), ("td", "a/b")])
def test_an_authority_needs_a_name_that_is_one(parts: tuple[str, str]) -> None:
    with pytest.raises(spiffe.Malformed):
        bundle.generate(*parts, datetime.timedelta(0), issuing.now())


def test_files_are_for_our_user_only_and_hold_the_same_authority(names: Names) -> None:
    assert bundle.load(bundle.read_files, *names, issuing.now()) is None
    made = issuing.made()
    _write(made, names)
    assert {os.stat(name).st_mode & 0o777 for name in names} == {0o600}
    found = bundle.load(bundle.read_files, *names, issuing.now())
    assert found is not None
    assert (found.anchors, found.chain) == (made.anchors, made.chain)


@pytest.mark.parametrize("missing", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)])
def test_a_part_of_an_authority_is_refused(names: Names, missing: tuple[int, ...]) -> None:
    _write(issuing.made(), names)
    for number in missing:
        os.unlink(names[number])
    with pytest.raises(bundle.Refused, match="missing beside") as refused:
        bundle.load(bundle.read_files, *names, issuing.now())
    for number, name in enumerate(names):
        before, _, after = str(refused.value).partition("missing beside")
        assert name in (before if number in missing else after)


def test_what_is_there_is_not_written_over(names: Names) -> None:
    _write(issuing.made(), names)
    contents = [Path(name).read_bytes() for name in names]
    with pytest.raises(bundle.Refused, match=r"failed to write file .*issuer\.key: file exists"):
        _write(issuing.made(), names)
    assert [Path(name).read_bytes() for name in names] == contents


def test_all_files_are_written_or_none(names: Names) -> None:
    Path(names[0]).write_text("mine")
    with pytest.raises(bundle.Refused, match=r"ca\.crt: file exists"):
        _write(issuing.made(), names)
    assert not os.path.exists(names[1]) and not os.path.exists(names[2])
    assert Path(names[0]).read_text() == "mine"


def test_a_file_that_cannot_be_read_is_not_missing(names: Names) -> None:
    _write(issuing.made(), names)
    os.unlink(names[1])
    os.mkdir(names[1])
    with pytest.raises(bundle.Refused, match=r"failed to read issuer certificate: open .*: is a directory"):
        bundle.load(bundle.read_files, *names, issuing.now())


def test_parts_of_different_authorities_are_refused() -> None:
    one, other = issuing.made(), issuing.made()
    chain, key = certificates.encode(one.chain), certificates.encode_key(one.key)
    with pytest.raises(certificates.Invalid, match="issuer key does not match issuer certificate"):
        bundle.verified(one.anchors, chain, certificates.encode_key(other.key), issuing.now())
    with pytest.raises(certificates.Invalid, match="issuer chain does not belong to trust anchors"):
        bundle.verified(other.anchors, chain, key, issuing.now())
    assert bundle.verified(other.anchors + one.anchors, chain, key, issuing.now()).chain == one.chain


def test_the_wrong_certificate_in_a_place_is_refused() -> None:
    made = issuing.made()
    chain, key = certificates.encode(made.chain), certificates.encode_key(made.key)
    with pytest.raises(certificates.Invalid, match="certificate in trust anchor is not self-signed"):
        bundle.verified(chain, chain, key, issuing.now())
    with pytest.raises(certificates.Invalid, match="the issuer is a root"):
        bundle.verified(made.anchors, made.anchors, key, issuing.now())
    with pytest.raises(certificates.Invalid, match="failed to decode trust anchors: no certificates found"):
        bundle.verified(b"", chain, key, issuing.now())
    with pytest.raises(certificates.Invalid, match="no certificates found"):
        bundle.verified(made.anchors, b"", key, issuing.now())


def test_an_authority_that_has_expired_is_refused() -> None:
    made = issuing.made(at=issuing.now() - datetime.timedelta(days=366))
    files = certificates.encode(made.chain), certificates.encode_key(made.key)
    with pytest.raises(certificates.Invalid, match="expired"):
        bundle.verified(made.anchors, *files, issuing.now())


def test_the_root_is_not_sent_to_others() -> None:
    made = issuing.made()
    chain = certificates.encode(made.chain) + made.anchors
    found = bundle.verified(b"comment\n" + made.anchors, chain, certificates.encode_key(made.key), issuing.now())
    assert found.chain == made.chain
    assert found.anchors == made.anchors


def test_an_issuer_with_an_ecdsa_key_is_taken() -> None:
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])

    def sign(public: ec.EllipticCurvePublicKey) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(public)
        builder = builder.serial_number(bundle.serial()).not_valid_before(issuing.now() - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(issuing.now() + datetime.timedelta(hours=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        return builder.sign(root_key, hashes.SHA256())

    root, issuer = sign(root_key.public_key()), sign(key.public_key())
    anchors, chain = certificates.encode((root,)), certificates.encode((issuer,))
    assert bundle.verified(anchors, chain, certificates.encode_key(key), issuing.now()).issuer == issuer
