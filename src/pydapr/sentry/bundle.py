"""The authority's files: root certificates, the issuer's certificate and its key. Made once, then only read.

Called by `runtime`. What is there and cannot be used is refused, in part or as a whole, and left as it is: making a
new authority over an old one would cut off everybody who trusts the old one.
"""

import datetime
import os
from collections.abc import Callable, Mapping, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from pydapr.lib.record import Record
from pydapr.security import certificates, spiffe

CA_LIFE = datetime.timedelta(days=365)


class Refused(Exception):
    """The files cannot be used; the text says why and that they are left alone."""


class Missing(Refused):
    """Some of the files are there and others are not."""


class Bundle(Record):
    """What certificates are signed with. `chain` begins with the issuer, whose key `key` is."""

    anchors: bytes
    chain: tuple[x509.Certificate, ...]
    key: certificates.PrivateKey

    @property
    def issuer(self) -> x509.Certificate:
        return self.chain[0]

    @property
    def end(self) -> datetime.datetime:
        """From when on nothing that is signed is valid any more."""
        roots = certificates.read_all(self.anchors)
        above = [root for root in roots if certificates.is_signed_by(self.chain[-1], root)]
        last = max((root.not_valid_after_utc for root in above), default=self.issuer.not_valid_after_utc)
        return min(last, *(one.not_valid_after_utc for one in self.chain))


# -- reading --


Read = Callable[[Mapping[str, str]], list[bytes] | None]
"""From what and paths to contents (`read_files`)."""


def load(read: Read, ca_file: str, issuer_file: str, key_file: str, now: datetime.datetime) -> Bundle | None:
    """The bundle in these files, None when none of them is there. Raises `Refused`."""
    content = read({"root certificate": ca_file, "issuer certificate": issuer_file, "issuer key": key_file})
    if content is None:
        return None
    anchors, chain, key = content
    try:
        return verified(anchors, chain, key, now)
    except certificates.Invalid as error:
        raise Refused(f"failed to verify CA bundle: {error}{advice(ca_file, issuer_file, key_file)}") from None


def advice(*paths: str) -> str:
    """What to do about files that cannot be used."""
    return (
        f" ({', '.join(paths)}: nothing is overwritten; put there what belongs together, or move all of them away to "
        "have them made anew)"
    )


def read_files(paths: Mapping[str, str]) -> list[bytes] | None:
    """The contents of files that belong together, None when none is there. Raises `Refused` when some are missing."""
    found: list[bytes] = []
    gone: list[str] = []
    for what, path in paths.items():
        try:
            with open(path, "rb") as file:
                found.append(file.read())
        except FileNotFoundError:
            gone.append(path)
        except OSError as error:
            raise Refused(f"failed to read {what}: open {path}: {(error.strerror or str(error)).lower()}") from None
    if not gone:
        return found
    if not found:
        return None
    raise missing(gone, [path for path in paths.values() if path not in gone])


def missing(gone: Sequence[str], there: Sequence[str]) -> Missing:
    """What to say when a part is not there."""
    return Missing(
        f"{', '.join(gone)} {'is' if len(gone) == 1 else 'are'} missing beside {', '.join(there)}: nothing is "
        "overwritten; bring back what is missing, or move the rest away to have all of it made anew"
    )


def verified(anchors: bytes, chain: bytes, key: bytes, now: datetime.datetime) -> Bundle:
    """The bundle in three PEM texts. Raises `certificates.Invalid`."""
    try:
        roots = certificates.read_all(anchors)
    except certificates.Invalid as error:
        raise certificates.Invalid(f"failed to decode trust anchors: {error}") from None
    for root in roots:
        if not certificates.is_signed_by(root, root):
            raise certificates.Invalid("certificate in trust anchor is not self-signed")
    issuers = certificates.read_chain(chain)
    if len(issuers) > 1 and certificates.is_signed_by(issuers[-1], issuers[-1]):
        issuers.pop()  # the root is sent to nobody: who trusts it has it
    if not certificates.is_authority(issuers[0]):
        raise certificates.Invalid("intermediate certificate is not valid for signing")
    if certificates.is_signed_by(issuers[0], issuers[0]):
        raise certificates.Invalid("issuer chain is empty: the issuer is a root, not a certificate below one")
    private = certificates.read_key(key)
    public = certificates.public_key(issuers[0])
    if certificates.public_bytes(private.public_key()) != certificates.public_bytes(public):
        raise certificates.Invalid("issuer key does not match issuer certificate")
    try:
        certificates.check_path(issuers, roots, now)
        _check_limits(issuers, roots)
    except certificates.Invalid as error:
        raise certificates.Invalid(f"issuer chain does not belong to trust anchors: {error}") from None
    return Bundle(certificates.encode(roots), tuple(issuers), private)


def _check_limits(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]) -> None:
    """Whether those above allow what is to be signed below them. Raises `certificates.Invalid`."""
    for below, one in enumerate(chain):
        _check_limit(one, below)
    faults = []
    for root in roots:
        if certificates.is_signed_by(chain[-1], root):
            try:
                _check_limit(root, len(chain))
                return
            except certificates.Invalid as error:
                faults.append(error)
    if faults:
        raise faults[0]


def _check_limit(authority: x509.Certificate, below: int) -> None:
    """`below` is how many authorities stand between it and what is signed. Raises `certificates.Invalid`."""
    extensions = {one.oid: one.value for one in authority.extensions}
    constraints = extensions.get(ExtensionOID.BASIC_CONSTRAINTS)
    if isinstance(constraints, x509.BasicConstraints):
        if constraints.path_length is not None and constraints.path_length < below:
            raise certificates.Invalid("x509: too many intermediates for path length constraint")
    usages = extensions.get(ExtensionOID.EXTENDED_KEY_USAGE)
    if isinstance(usages, x509.ExtendedKeyUsage):
        if not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usages):
            raise certificates.Invalid("x509: certificate specifies an incompatible key usage")


# -- making --


def generate(trust_domain: str, namespace: str, skew: datetime.timedelta, now: datetime.datetime) -> Bundle:
    """A new authority: a root whose key is kept by nobody, and an issuer below it. Raises `spiffe.Malformed`."""
    own = spiffe.sentry(spiffe.domain(trust_domain), namespace)
    root_key, key = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    root_name = _organization(trust_domain)
    times = (now - skew, now + CA_LIFE)
    root = _authority(root_name, root_name, root_key, times, revokes=False).sign(root_key, None)
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    below = _authority(_organization(str(own)), root_name, key, times, revokes=True)
    # The original does without; but the next root has the same name, and verifiers are to know which of them it is.
    issuer = below.add_extension(above, critical=False).sign(root_key, None)
    return Bundle(certificates.encode((root,)), (issuer,), key)


def _organization(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])


def _authority(
    subject: x509.Name,
    issuer: x509.Name,
    key: ed25519.Ed25519PrivateKey,
    times: tuple[datetime.datetime, datetime.datetime],
    revokes: bool,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(serial())
        .public_key(key.public_key())
        .not_valid_before(times[0].replace(microsecond=0))
        .not_valid_after(times[1].replace(microsecond=0))
        .add_extension(usage(signs_certificates=True, signs_revocations=revokes), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def serial() -> int:
    """A serial number, random in 127 bits, since zero and negative ones are none."""
    return int.from_bytes(os.urandom(16), "big") >> 1 | 1


def usage(signs_certificates: bool = False, signs_revocations: bool = False) -> x509.KeyUsage:
    """What a key may be used for: signatures in any case."""
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_revocations,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def files(bundle: Bundle, ca_file: str, issuer_file: str, key_file: str) -> list[tuple[str, bytes]]:
    """The files of a bundle, in the order in which they are written: what others go by comes last."""
    return [
        (key_file, certificates.encode_key(bundle.key)),
        (issuer_file, certificates.encode(bundle.chain)),
        (ca_file, bundle.anchors),
    ]
