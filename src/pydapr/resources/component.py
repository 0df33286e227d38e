"""Component resources: `kind: Component`, `dapr.io/v1alpha1`.

Read by `folder` (standalone) and by the operator's client (Kubernetes); `daprd.load` opens what they describe.
References to secrets and the environment are carried as they are, the loader of components resolves them.
"""

from __future__ import annotations

from pydapr.lib import durations
from pydapr.lib.record import Record
from pydapr.resources.fields import NameValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pydapr.resources.fields import Fields

CATEGORIES = (
    "bindings",
    "pubsub",
    "secretstores",
    "state",
    "middleware",
    "configuration",
    "crypto",
    "lock",
    "conversation",
)
DEFAULT_INIT_TIMEOUT = 5.0


class Component(Record):
    """One component as it is wanted."""

    name: str
    namespace: str = ""
    type: str = ""
    version: str = ""
    ignore_errors: bool = False
    init_timeout: str = ""
    metadata: tuple[NameValue, ...] = ()
    secret_store: str = ""
    scopes: tuple[str, ...] = ()
    file: str = ""
    """Where it stands, for messages."""

    @property
    def log_name(self) -> str:
        """`name (type/version)`, as log lines and errors call it."""
        return f"{self.name} ({self.type}/{self.version})" if self.version else f"{self.name} ({self.type})"

    @property
    def category(self) -> str:
        """The first part of the type; empty when there is no such category (`incorrect type …` at loading)."""
        first, dot, _ = self.type.partition(".")
        return first if dot and first in CATEGORIES else ""

    @property
    def init_timeout_seconds(self) -> float:
        """How long opening may take; the default also when unparsable."""
        try:
            return durations.parse(self.init_timeout)
        except ValueError:
            return DEFAULT_INIT_TIMEOUT


def read(document: Fields) -> Component:
    """The component in a document; raises fields.FieldError."""
    about = document.child("metadata", "ObjectMeta")
    spec = document.child("spec", "ComponentSpec")
    return Component(
        name=about.text("name"),
        namespace=about.text("namespace"),
        type=spec.text("type"),
        version=spec.text("version"),
        ignore_errors=spec.flag("ignoreErrors"),
        init_timeout=spec.text("initTimeout"),
        metadata=spec.name_values("metadata"),
        secret_store=document.child("auth", "Auth").text("secretStore"),
        scopes=document.texts("scopes"),
    )
