"""What certificates look like that the authority signs."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.unit.security import issuing

from pydapr.security import certificates, spiffe
from pydapr.sentry import authority

OWN = spiffe.new("public", "default", "myapp")


def _signed(names: tuple[str, ...] = ()) -> tuple[x509.Certificate, list[x509.Certificate], datetime.datetime]:
    made = issuing.made()
    now = issuing.now()
    chain, _ = authority.Authority(made, 3600.0, 60.0, None).sign(issuing.signing(), OWN, names, now)
    leaf, *rest = certificates.read_chain(chain)
    assert rest == list(made.chain)
    certificates.check_path([leaf, *rest], certificates.read_all(made.anchors), now)
    return leaf, rest, now


def test_a_workloads_certificate_is_the_originals_in_form() -> None:
    leaf, (issuer,), now = _signed()
    assert leaf.subject == x509.Name([])
    assert leaf.not_valid_before_utc == (now - datetime.timedelta(minutes=1)).replace(microsecond=0)
    assert leaf.not_valid_after_utc == (now + datetime.timedelta(hours=1)).replace(microsecond=0)
    assert certificates.spiffe_id(leaf) == OWN
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.digital_signature and not usage.value.key_cert_sign
    extended = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert not extended.critical
    assert list(extended.value) == [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    above = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert above.key_identifier == own.digest
    with pytest.raises(x509.ExtensionNotFound):
        leaf.extensions.get_extension_for_class(x509.BasicConstraints)


def test_names_of_hosts_stand_beside_the_id() -> None:
    leaf, _, _ = _signed(("a.example", "b.example"))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example", "b.example"]
    assert certificates.spiffe_id(leaf) == OWN


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())])
def test_keys_of_other_kinds_are_certified(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    signer = authority.Authority(issuing.made(), 3600.0, 60.0, None)
    chain, _ = signer.sign(request, OWN, (), issuing.now())
    assert certificates.read_all(chain)[0].public_key() == key.public_key()


@pytest.mark.parametrize("key", [dsa.generate_private_key(1024), ec.generate_private_key(ec.SECP256K1())])
def test_keys_of_kinds_that_tls_does_without_are_not(key: dsa.DSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    signer = authority.Authority(issuing.made(), 3600.0, 60.0, None)
    with pytest.raises(authority.CannotSign, match=r"unrecognised public key type|unsupported elliptic curve"):
        signer.sign(request, OWN, (), issuing.now())
