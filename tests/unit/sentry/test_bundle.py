"""The authority's files: made once, verified, and never overwritten."""

import datetime
import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.unit.security import issuing

from pydapr.security import certificates, pem, spiffe
from pydapr.sentry import bundle

Names = tuple[str, str, str]


@pytest.fixture
def names(tmp_path: Path) -> Names:
    return str(tmp_path / "ca.crt"), str(tmp_path / "issuer.crt"), str(tmp_path / "issuer.key")


def _write(made: bundle.Bundle, names: Names) -> None:
    for name, content in bundle.files(made, *names):
        Path(name).write_bytes(content)


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


def test_files_hold_the_same_authority(names: Names) -> None:
    assert bundle.load(bundle.read_files, *names, issuing.now()) is None
    made = issuing.made()
    _write(made, names)
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


def test_a_file_that_cannot_be_read_is_not_missing(names: Names) -> None:
    _write(issuing.made(), names)
    os.unlink(names[1])
    os.mkdir(names[1])
    with pytest.raises(bundle.Refused, match=r"failed to read issuer certificate: open .*: is a directory"):
        bundle.load(bundle.read_files, *names, issuing.now())


def test_files_that_cannot_be_used_are_named_with_what_to_do(names: Names) -> None:
    _write(issuing.made(), names)
    Path(names[2]).write_text("")
    with pytest.raises(bundle.Refused, match="failed to verify CA bundle: key is not PEM encoded") as refused:
        bundle.load(bundle.read_files, *names, issuing.now())
    assert ", ".join(names) in str(refused.value)
    assert "nothing is overwritten" in str(refused.value) and "move all of them away" in str(refused.value)


@pytest.mark.parametrize(
    "damage", [(b"\x06\x03\x2b\x65\x70", b"\x06\x03\x2b\x65\x12"), (b"\x02\x01\x02", b"\x02\x01\x48")]
)
def test_a_certificate_of_an_unknown_kind_is_refused(names: Names, damage: tuple[bytes, bytes]) -> None:
    """Of another kind of key, of another version: the library has errors of their own for these."""
    made = issuing.made()
    der = made.issuer.public_bytes(serialization.Encoding.DER)
    for name, content in bundle.files(made, *names):
        Path(name).write_bytes(content)
    assert damage[0] in der
    Path(names[1]).write_bytes(pem.encode("CERTIFICATE", der.replace(*damage)))
    with pytest.raises(bundle.Refused, match="failed to verify CA bundle"):
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


def test_an_authority_ends_with_the_first_of_its_own_that_does() -> None:
    made, older = issuing.made(), issuing.made(at=issuing.now() - datetime.timedelta(days=300))
    assert made.end == made.issuer.not_valid_after_utc
    files = certificates.encode(made.chain), certificates.encode_key(made.key)
    with_older_root = bundle.verified(older.anchors + made.anchors, *files, issuing.now())
    assert with_older_root.end == made.end
    assert bundle.Bundle(older.anchors, older.chain, older.key).end == older.issuer.not_valid_after_utc < made.end


def test_the_root_is_not_sent_to_others() -> None:
    made = issuing.made()
    chain = certificates.encode(made.chain) + made.anchors
    found = bundle.verified(b"comment\n" + made.anchors, chain, certificates.encode_key(made.key), issuing.now())
    assert found.chain == made.chain
    assert found.anchors == made.anchors


EC = ec.EllipticCurvePrivateKey


def _signed(
    key: EC, signer: EC, path_length: int | None = None, usage: x509.ObjectIdentifier | None = None
) -> x509.Certificate:
    name, hour = x509.Name([]), datetime.timedelta(hours=1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(bundle.serial())
    builder = builder.not_valid_before(issuing.now() - hour).not_valid_after(issuing.now() + hour)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _keys(count: int) -> list[EC]:
    return [ec.generate_private_key(ec.SECP256R1()) for _ in range(count)]


def test_an_issuer_with_an_ecdsa_key_is_taken() -> None:
    root_key, key = _keys(2)
    root, issuer = _signed(root_key, root_key), _signed(key, root_key)
    anchors, chain = certificates.encode((root,)), certificates.encode((issuer,))
    assert bundle.verified(anchors, chain, certificates.encode_key(key), issuing.now()).issuer == issuer


@pytest.mark.parametrize(
    ("root", "between", "issuer"), [(None, None, None), (2, 1, 0), (1, 1, 0), (2, 0, 0), (0, None, None)]
)
def test_how_many_may_stand_below_an_authority_counts(
    root: int | None, between: int | None, issuer: int | None
) -> None:
    """Of one that is not allowed what it signs, nobody would accept a certificate."""
    root_key, middle_key, key = _keys(3)
    anchors = certificates.encode((_signed(root_key, root_key, root),))
    chain = certificates.encode((_signed(key, middle_key, issuer), _signed(middle_key, root_key, between)))
    files = anchors, chain, certificates.encode_key(key)
    if root in (None, 2) and between in (None, 1):
        assert len(bundle.verified(*files, issuing.now()).chain) == 2
    else:
        with pytest.raises(certificates.Invalid, match="too many intermediates for path length constraint"):
            bundle.verified(*files, issuing.now())
    other = _keys(1)[0]
    unlimited = certificates.encode((_signed(other, other), _signed(root_key, root_key)))
    if between != 0:
        assert bundle.verified(unlimited + anchors, *files[1:], issuing.now())


def test_an_authority_for_something_else_is_refused() -> None:
    root_key, key = _keys(2)
    anchors = certificates.encode((_signed(root_key, root_key),))
    for usage, is_good in ((ExtendedKeyUsageOID.SERVER_AUTH, True), (ExtendedKeyUsageOID.CODE_SIGNING, False)):
        files = anchors, certificates.encode((_signed(key, root_key, usage=usage),)), certificates.encode_key(key)
        if is_good:
            assert bundle.verified(*files, issuing.now())
        else:
            with pytest.raises(certificates.Invalid, match="certificate specifies an incompatible key usage"):
                bundle.verified(*files, issuing.now())
