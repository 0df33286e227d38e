"""Certificates for tests, from an authority made for them."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519

from pydapr.security import spiffe, svid, trust
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
