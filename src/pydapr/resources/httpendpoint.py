"""HTTP endpoints outside of Dapr: `kind: HTTPEndpoint`, `dapr.io/v1alpha1`.

Read by `folder` and by the operator's client; service invocation calls them by name.
"""

from __future__ import annotations

from pydapr.lib.record import Record
from pydapr.resources.fields import NameValue, SecretKeyRef

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pydapr.resources.fields import Fields


class Pem(Record):
    """A certificate or key: as it stands, or from a secret store."""

    value: str | None = None
    secret_key_ref: SecretKeyRef | None = None


class ClientTls(Record):
    """How to present oneself to the endpoint, and whom to trust."""

    root_ca: Pem | None = None
    certificate: Pem | None = None
    private_key: Pem | None = None
    renegotiation: str = ""


class HttpEndpoint(Record):
    """An address that apps may call by the resource's name."""

    name: str
    namespace: str = ""
    base_url: str = ""
    headers: tuple[NameValue, ...] = ()
    client_tls: ClientTls | None = None
    secret_store: str = ""
    scopes: tuple[str, ...] = ()
    file: str = ""
    """Where it stands, for messages."""

    @property
    def log_name(self) -> str:
        return f"{self.name} ({self.base_url})"


def read(document: Fields) -> HttpEndpoint:
    """The endpoint in a document; raises fields.FieldError."""
    about = document.child("metadata", "ObjectMeta")
    spec = document.child("spec", "HTTPEndpointSpec")
    return HttpEndpoint(
        name=about.text("name"),
        namespace=about.text("namespace"),
        base_url=spec.text("baseUrl"),
        headers=spec.name_values("headers"),
        client_tls=_tls(spec.child("clientTLS", "TLS")) if spec.has("clientTLS") else None,
        secret_store=document.child("auth", "Auth").text("secretStore"),
        scopes=document.texts("scopes"),
    )


def _tls(tls: Fields) -> ClientTls:
    return ClientTls(
        root_ca=_pem(tls, "rootCA"),
        certificate=_pem(tls, "certificate"),
        private_key=_pem(tls, "privateKey"),
        renegotiation=tls.text("renegotiation"),
    )


def _pem(tls: Fields, key: str) -> Pem | None:
    if not tls.has(key):
        return None
    document = tls.child(key, "TLSDocument")
    return Pem(document.dynamic("value"), document.secret_key_ref("secretKeyRef"))
