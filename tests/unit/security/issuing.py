"""Certificates for tests, from an authority made for them."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519

from pydapr.security import certificates, spiffe, svid, trust
from pydapr.sentry import authority, bundle

DAY = 86400.0


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def made(trust_domain: str = "localhost", at: datetime.datetime | None = None) -> bundle.Bundle:
    return bundle.generate(trust_domain, "default", datetime.timedelta(minutes=15), at or now())


def signing(key: ed25519.Ed25519PrivateKey | None = None) -> x509.CertificateSigningRequest:
    key = key or ed25519.Ed25519PrivateKey.generate()
    return x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, None)


class Issuer:
    """Issues certificates for whatever id is set, and counts."""

    def __init__(self, bundle: bundle.Bundle | None = None, life: float = DAY) -> None:
        self.bundle = bundle or made()
        self.life = life
        self.count = 0
        self.failure = ""

    @property
    def anchors(self) -> trust.Anchors:
        return trust.read(self.bundle.anchors)

    def request(self, own: spiffe.Id) -> svid.Request:
        async def issue(request: bytes) -> svid.Issued:
            self.count += 1
            if self.failure:
                raise svid.Unavailable(self.failure)
            signer = authority.Authority(self.bundle, self.life, 900.0, None)
            chain, _ = signer.sign(x509.load_der_x509_csr(request), own, (), now())
            return svid.Issued(chain)

        return issue

    async def source(self, app_id: str, trust_domain: str = "public") -> svid.Source:
        made = svid.Source(self.request(spiffe.new(trust_domain, "default", app_id)), self.anchors)
        await made.open()
        return made


def made_as_the_original() -> bundle.Bundle:
    """An authority whose root has the name that all have, and whose issuer does not say which of them is above it."""
    return with_key(ed25519.Ed25519PrivateKey.generate())


def with_key(key: certificates.PrivateKey) -> bundle.Bundle:
    """An authority that issues by this key."""
    root_key = ed25519.Ed25519PrivateKey.generate()
    like = made()
    root = _without_key_id(certificates.read_all(like.anchors)[0], root_key, root_key)
    return bundle.Bundle(certificates.encode((root,)), (_without_key_id(like.issuer, key, root_key),), key)


def _without_key_id(
    like: x509.Certificate, key: certificates.PrivateKey, signer: ed25519.Ed25519PrivateKey
) -> x509.Certificate:
    made = (
        x509.CertificateBuilder()
        .subject_name(like.subject)
        .issuer_name(like.issuer)
        .serial_number(bundle.serial())
        .public_key(key.public_key())
        .not_valid_before(like.not_valid_before_utc)
        .not_valid_after(like.not_valid_after_utc)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    for kind in (x509.KeyUsage, x509.BasicConstraints):
        made = made.add_extension(like.extensions.get_extension_for_class(kind).value, critical=True)
    return made.sign(signer, None)
