"""Certificates and keys: reading them, and whether they belong together.

The home of the library `cryptography`, with `sentry` and its own modules; imported only where TLS is wanted, because
it costs 50 ms and 10 MB. Used by `svid`, `request` and sentry.
"""

import datetime
import itertools
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pydapr.security import pem, spiffe

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey

MAX_PATH = 8
"""Certificates between one and its root; a longer chain is none."""

_CURVES = ("secp224r1", "secp256r1", "secp384r1", "secp521r1")
"""Those that Go knows."""

_KEY_LABELS = ("PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY")


class Invalid(ValueError):
    """A certificate or key cannot be used; the text says why."""


def read_all(data: bytes) -> list[x509.Certificate]:
    """The certificates in a PEM text. Raises `Invalid`."""
    found = []
    for label, content in pem.blocks(data):
        if label != "CERTIFICATE":
            break
        found.append(_certificate(content))
    if not found:
        raise Invalid("no certificates found")
    return found


def read_chain(data: bytes) -> list[x509.Certificate]:
    """The certificates in a PEM text, each signed by the one after it. Raises `Invalid`."""
    chain = read_all(data)
    if not all(is_signed_by(one, signer) for one, signer in itertools.pairwise(chain)):
        raise Invalid("certificate chain is not valid")
    return chain


def read_key(data: bytes) -> PrivateKey:
    """The private key in a PEM text. Raises `Invalid`."""
    found = pem.blocks(data)
    if not found:
        raise Invalid("key is not PEM encoded")
    label, content = found[0]
    if label not in _KEY_LABELS:
        raise Invalid(f"unsupported block type {label}")
    try:
        key = serialization.load_der_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Invalid(f"private key cannot be read: {error}") from None
    if not isinstance(key, PrivateKey):
        raise Invalid(f"unsupported key type {type(key).__name__}")
    return key


def _certificate(content: bytes) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(content)
        _ = certificate.extensions, certificate.subject, certificate.issuer  # they are read when first asked for
    except Exception as error:  # the library has many: ValueError, TypeError, InvalidVersion, DuplicateExtension...
        raise Invalid(f"certificate cannot be read: {error}") from None
    return certificate


def encode(certificates: Sequence[x509.Certificate]) -> bytes:
    """The certificates in PEM."""
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def encode_key(key: PrivateKey) -> bytes:
    """The key in PEM, PKCS #8, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_key(signed: x509.Certificate | x509.CertificateSigningRequest) -> PublicKey:
    """The key that is signed, of a kind and on a curve that peers can use. Raises `Invalid`."""
    try:
        key = signed.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Invalid(f"unrecognised public key: {error}") from None
    if not isinstance(key, PublicKey):
        raise Invalid(f"unrecognised public key type: {type(key).__name__}")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in _CURVES:
        raise Invalid(f"x509: unsupported elliptic curve {key.curve.name}")
    return key


def public_bytes(key: PublicKey) -> bytes:
    """The key as DER; equal keys have equal bytes."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def is_signed_by(certificate: x509.Certificate, signer: x509.Certificate) -> bool:
    """Whether `signer` may sign certificates and has signed this one."""
    if not is_authority(signer):
        return False
    try:
        certificate.verify_directly_issued_by(signer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether the certificate says that its key signs others."""
    try:
        if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
    except x509.ExtensionNotFound:
        return False
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def is_in_force(certificate: x509.Certificate, now: datetime.datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def check_path(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], now: datetime.datetime) -> None:
    """Whether `chain`, the first and what lies between, leads to one of `roots`. Raises `Invalid`."""
    for certificate in chain:
        if not is_in_force(certificate, now):
            raise Invalid(
                "x509: certificate has expired or is not yet valid: "
                f"{_name(certificate)} holds from {certificate.not_valid_before_utc} "
                f"to {certificate.not_valid_after_utc}"
            )
    current = chain[0]
    for _ in range(MAX_PATH):
        signers = [root for root in roots if root == current or is_signed_by(current, root)]
        if any(is_in_force(root, now) for root in signers):
            return
        if signers:
            root = signers[0]
            raise Invalid(
                "x509: certificate has expired or is not yet valid: "
                f"the trust anchor {_name(root)} holds from {root.not_valid_before_utc} to {root.not_valid_after_utc}"
            )
        following = [one for one in chain[1:] if one != current and is_signed_by(current, one)]
        if not following:
            break
        current = following[0]
    raise Invalid("x509: certificate signed by unknown authority")


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "without a name"


def spiffe_id(certificate: x509.Certificate) -> spiffe.Id:
    """The one SPIFFE id in a certificate. Raises `Invalid`."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = names.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        found = []
    if len(found) != 1:
        raise Invalid(f"certificate contains {'no' if not found else 'more than one'} URI SAN")
    try:
        return spiffe.parse(found[0])
    except spiffe.Malformed as error:
        raise Invalid(str(error)) from None
