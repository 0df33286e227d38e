"""The authority: signs certificates with the issuer's key, and tokens if it has a key for them.

Made by `runtime` from the files of the moment; called by `service` and for sentry's own certificate. Whoever calls it
has made sure that the id is the caller's.
"""

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from pydapr.security import certificates, spiffe
from pydapr.sentry import bundle as bundles

if TYPE_CHECKING:
    from pydapr.sentry.tokens import Tokens


class CannotSign(Exception):
    """No certificate can be made for this; the text says why."""


class Authority:
    """Signs with one bundle. `tokens` is None when none are issued."""

    def __init__(self, bundle: bundles.Bundle, life: float, skew: float, tokens: "Tokens | None") -> None:
        self.bundle = bundle
        self.tokens = tokens
        self._life = datetime.timedelta(seconds=life)
        self._skew = datetime.timedelta(seconds=skew)
        self._hash = _hash_of(bundle.key)
        self._issuer_id = _authority_key(bundle.issuer)
        self._above = certificates.encode(bundle.chain)

    def sign(
        self, request: x509.CertificateSigningRequest, own: spiffe.Id, names: Sequence[str], now: datetime.datetime
    ) -> tuple[bytes, datetime.datetime]:
        """The chain in PEM for `own` and its host `names`, and until when it holds. Raises `CannotSign`."""
        try:
            key = certificates.public_key(request)
        except certificates.Invalid as error:
            raise CannotSign(str(error)) from None
        until = (now + self._life).replace(microsecond=0)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.bundle.issuer.subject)
            .serial_number(bundles.serial())
            .public_key(key)
            .not_valid_before((now - self._skew).replace(microsecond=0))
            .not_valid_after(until)
            .add_extension(bundles.usage(), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
        )
        if self._issuer_id is not None:
            builder = builder.add_extension(self._issuer_id, critical=False)
        all_names = [*map(x509.DNSName, names), x509.UniformResourceIdentifier(str(own))]
        builder = builder.add_extension(x509.SubjectAlternativeName(all_names), critical=True)
        leaf = builder.sign(self.bundle.key, self._hash)
        return certificates.encode((leaf,)) + self._above, until


def _hash_of(key: certificates.PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None:
    """What is signed of a certificate; Ed25519 has a hash of its own."""
    if isinstance(key, rsa.RSAPrivateKey):
        return hashes.SHA256()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        if key.curve.name == "secp521r1":
            return hashes.SHA512()
        return hashes.SHA384() if key.curve.name == "secp384r1" else hashes.SHA256()
    return None


def _authority_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier | None:
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return None
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
