"""TLS towards a server whose trust and client certificate are given as PEM texts, such as an HTTPEndpoint's.

Called by `daprd.endpoints`; the context goes into `net.dial`.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

MAY_RENEGOTIATE = ("OnceAsClient", "FreelyAsClient")


def context(root_ca: str, certificate: str, private_key: str, renegotiation: str = "") -> "ssl.SSLContext":
    """Trusts `root_ca`, or what the system trusts when it is empty; presents `certificate` if there is one.

    Raises `ValueError` for a text that is no such certificate or key.
    """
    import ssl  # here and not above: it costs 10 ms of start-up

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if renegotiation not in MAY_RENEGOTIATE:
        made.options |= ssl.OP_NO_RENEGOTIATION
    if not root_ca:
        made.load_default_certs()
    elif not _trust(made, root_ca):
        raise ValueError("rootCA holds no certificate in PEM form")
    if certificate or private_key:
        with as_file(certificate) as chain, as_file(private_key) as key:
            try:
                made.load_cert_chain(chain, key, password=b"")
            except (ssl.SSLError, ValueError) as error:
                raise ValueError(f"certificate and privateKey do not form a pair in PEM form: {error}") from None
    return made


def _trust(made: "ssl.SSLContext", root_ca: str) -> bool:
    try:
        made.load_verify_locations(cadata=root_ca)
    except (OSError, ValueError):
        return False
    return True


@contextlib.contextmanager
def as_file(text: str) -> Iterator[str]:
    """A path under which OpenSSL reads `text`; in memory where the system can, because keys pass here."""
    if hasattr(os, "memfd_create"):
        held = os.memfd_create("pem")
        try:
            os.write(held, text.encode())
            yield f"/proc/self/fd/{held}"
        finally:
            os.close(held)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "pem")
        with open(path, "w") as file:
            file.write(text)
        yield path
