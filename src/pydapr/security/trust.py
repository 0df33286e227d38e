"""Trust anchors: the root certificates that everyone of this installation is measured by.

Made from the text in `DAPR_TRUST_ANCHORS`, or from what sentry holds; used by `tls` and `request`.

OpenSSL looks for the root of a chain by name and key id, and does not look on when it has found the wrong one. The
original's roots all have the same name and its issuers no key id, so that while one root replaces another, OpenSSL
has to be helped: `with_issuers` and `in_turn` do that, and do nothing where names differ.
"""

import datetime
import ssl
from collections.abc import Iterable

from cryptography import x509

from pydapr.lib.record import Record
from pydapr.security import certificates


class Anchors(Record):
    """Root certificates in PEM; `read` makes sure that they are some."""

    pem: str


def read(data: bytes) -> Anchors:
    """The anchors in a PEM text, all of which OpenSSL reads, too. Raises `certificates.Invalid`."""
    try:
        made = Anchors(certificates.encode(certificates.read_all(data)).decode("ascii"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=made.pem)
    except (certificates.Invalid, ssl.SSLError) as error:
        raise certificates.Invalid(f"failed to decode trust anchors: {error}") from None
    return made


def with_issuers(anchors: Anchors, issuers: Iterable[x509.Certificate], now: datetime.datetime) -> Anchors:
    """Among roots of the same name, trust in `issuers` that are known to be under one of them takes the place of trust
    in that one; other chains are looked for under the rest."""
    roots = certificates.read_all(anchors.pem.encode())
    if not _namesakes(roots):
        return anchors
    known = [issuer for issuer in issuers if _leads_to(roots, issuer, now)]
    done = [root for root in _namesakes(roots) if any(certificates.is_signed_by(issuer, root) for issuer in known)]
    rest = [root for root in roots if root not in done]
    missing = {root.subject for root in roots} - {root.subject for root in rest}
    kept = [root for root in roots if root in rest or root.subject in missing]
    return Anchors(certificates.encode([*known, *kept]).decode("ascii"))


def in_turn(anchors: Anchors) -> list[Anchors]:
    """The anchors as they are, and then those of the same name one at a time, for who knows no issuer yet."""
    roots = certificates.read_all(anchors.pem.encode())
    namesakes = _namesakes(roots)
    others = [root for root in roots if root not in namesakes]
    return [anchors, *[Anchors(certificates.encode([one, *others]).decode("ascii")) for one in namesakes]]


def _namesakes(roots: list[x509.Certificate]) -> list[x509.Certificate]:
    names = [root.subject for root in roots]
    return [root for root in roots if names.count(root.subject) > 1]


def _leads_to(roots: list[x509.Certificate], issuer: x509.Certificate, now: datetime.datetime) -> bool:
    try:
        certificates.check_path([issuer], roots, now)
    except certificates.Invalid:
        return False
    return True
