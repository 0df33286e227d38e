"""Trust anchors: the root certificates that everyone of this installation is measured by.

Made from the text in `DAPR_TRUST_ANCHORS`, or from what sentry holds; used by `tls` and `request`.
"""

from pydapr.lib.record import Record
from pydapr.security import certificates


class Anchors(Record):
    """Root certificates in PEM; `read` makes sure that they are some."""

    pem: str


def read(data: bytes) -> Anchors:
    """The anchors in a PEM text. Raises `certificates.Invalid`."""
    try:
        return Anchors(certificates.encode(certificates.read_all(data)).decode("ascii"))
    except certificates.Invalid as error:
        raise certificates.Invalid(f"failed to decode trust anchors: {error}") from None
