"""Reading certificates and keys, and whether they belong together."""

import datetime

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from tests.unit.security import issuing

from pydapr.security import certificates, pem, spiffe, trust

YEAR = datetime.timedelta(days=366)


def test_chains_and_keys_come_back_as_they_were_written() -> None:
    made = issuing.made()
    assert certificates.read_all(certificates.encode(made.chain)) == list(made.chain)
    again = certificates.read_key(certificates.encode_key(made.key))
    assert certificates.public_bytes(again.public_key()) == certificates.public_bytes(made.key.public_key())


@pytest.mark.parametrize("form", [serialization.PrivateFormat.TraditionalOpenSSL, serialization.PrivateFormat.PKCS8])
@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_keys_of_others_are_read(kind: str, form: serialization.PrivateFormat) -> None:
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP384R1())
    text = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    assert certificates.read_key(text).public_key() == key.public_key()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "key is not PEM encoded"),
        (pem.encode("CERTIFICATE", b"x"), "unsupported block type CERTIFICATE"),
        (pem.encode("PRIVATE KEY", b"x"), "private key cannot be read"),
    ],
)
def test_what_is_no_key(text: bytes, reason: str) -> None:
    with pytest.raises(certificates.Invalid, match=reason):
        certificates.read_key(text)


def test_a_key_of_a_kind_that_nobody_takes() -> None:
    key = dsa.generate_private_key(1024)
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(certificates.Invalid, match="unsupported key type"):
        certificates.read_key(text)


def test_what_is_no_certificate() -> None:
    with pytest.raises(certificates.Invalid, match="no certificates found"):
        certificates.read_all(b"hello")
    with pytest.raises(certificates.Invalid, match="certificate cannot be read"):
        certificates.read_all(pem.encode("CERTIFICATE", b"x"))
    with pytest.raises(certificates.Invalid, match="failed to decode trust anchors: no certificates found"):
        trust.read(b"")


def test_a_chain_is_in_order() -> None:
    made = issuing.made()
    root = certificates.read_all(made.anchors)[0]
    assert certificates.read_chain(certificates.encode((made.issuer, root))) == [made.issuer, root]
    with pytest.raises(certificates.Invalid, match="certificate chain is not valid"):
        certificates.read_chain(certificates.encode((root, made.issuer)))


def test_a_path_ends_at_a_root_that_is_trusted_and_in_force() -> None:
    made, other = issuing.made(), issuing.made()
    roots = certificates.read_all(made.anchors)
    certificates.check_path(made.chain, roots, issuing.now())
    certificates.check_path(made.chain, certificates.read_all(other.anchors) + roots, issuing.now())
    with pytest.raises(certificates.Invalid, match="signed by unknown authority"):
        certificates.check_path(made.chain, certificates.read_all(other.anchors), issuing.now())
    for when in (issuing.now() + YEAR, issuing.now() - YEAR):
        with pytest.raises(certificates.Invalid, match="expired or is not yet valid"):
            certificates.check_path(made.chain, roots, when)


async def test_the_id_of_a_certificate() -> None:
    issuer = issuing.Issuer()
    source = await issuer.source("myapp")
    leaf = certificates.read_all(source.identity.chain)[0]
    assert certificates.spiffe_id(leaf) == spiffe.new("public", "default", "myapp")
    with pytest.raises(certificates.Invalid, match="certificate contains no URI SAN"):
        certificates.spiffe_id(issuer.bundle.issuer)
