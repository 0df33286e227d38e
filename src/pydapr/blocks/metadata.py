"""What a sidecar tells of itself: its parts, and attributes that tools have attached.

Built by `daprd.runtime`, read and written by the faces. The document's shape is the original's (v1.18.3).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydapr import DAPR_VERSION
from pydapr.errors import TooManyAttributes

MAX_ATTRIBUTES = 1000
"""Attributes kept at most: the metadata API is open to whoever reaches the port."""

_DISABLED: Mapping[str, Any] = {
    "runtimeStatus": "DISABLED", "hostReady": False, "placement": "placement: disconnected"
}  # fmt: skip


@dataclass(slots=True)
class AppConnection:
    """How the sidecar reaches its app."""

    port: int
    protocol: str
    channel_address: str
    max_concurrency: int = 0
    health_path: str = ""
    health_interval: str = ""
    health_timeout: str = ""
    health_threshold: int = 0

    def document(self) -> dict[str, Any]:
        """As the metadata shows it: what is empty is left out."""
        out: dict[str, Any] = {}
        if self.port:
            out["port"] = self.port
        out["protocol"] = self.protocol
        out["channelAddress"] = self.channel_address
        if self.max_concurrency > 0:
            out["maxConcurrency"] = self.max_concurrency
        if self.health_path:
            out["health"] = {
                "healthCheckPath": self.health_path,
                "healthProbeInterval": self.health_interval,
                "healthProbeTimeout": self.health_timeout,
                "healthThreshold": self.health_threshold,
            }
        return out


@dataclass(slots=True)
class Metadata:
    """The sidecar's description; `extended` is what was attached to it."""

    app_id: str
    features: list[str]
    connection: AppConnection
    components: list[dict[str, Any]] = field(default_factory=list)
    http_endpoints: list[str] = field(default_factory=list)
    extended: dict[str, str] = field(default_factory=dict)
    subscriptions: Callable[[], list[dict[str, Any]]] = list
    """What the app is subscribed to at the moment, and streams."""
    actors: "Callable[[], Mapping[str, Any]] | None" = None
    """The state of the actor runtime at the moment; None where there is no placement service."""
    schedulers: Callable[[], Sequence[str]] = tuple
    """Addresses of the schedulers in use."""

    def attach(self, key: str, value: str) -> None:
        """Keeps an attribute. Raises `TooManyAttributes`."""
        if key not in self.extended and len(self.extended) >= MAX_ATTRIBUTES:
            raise TooManyAttributes(MAX_ATTRIBUTES)
        self.extended[key] = value

    def document(self) -> dict[str, Any]:
        """The whole description, ready to be encoded."""
        out: dict[str, Any] = {"id": self.app_id, "runtimeVersion": DAPR_VERSION}
        if self.features:
            out["enabledFeatures"] = self.features
        runtime = self.actors() if self.actors is not None else _DISABLED
        if active := runtime.get("activeActors"):
            out["actors"] = active
        if self.components:
            out["components"] = self.components
        out["extended"] = dict(sorted({**self.extended, "daprRuntimeVersion": DAPR_VERSION}.items()))
        if subscribed := self.subscriptions():
            out["subscriptions"] = subscribed
        if self.http_endpoints:
            out["httpEndpoints"] = [{"name": name} for name in self.http_endpoints]
        out["appConnectionProperties"] = self.connection.document()
        out["actorRuntime"] = runtime
        if schedulers := self.schedulers():
            out["scheduler"] = {"connected_addresses": list(schedulers)}
        return out
