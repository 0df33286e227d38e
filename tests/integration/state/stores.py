"""Component resources with state stores, and a sidecar that has them."""

import json
from typing import Any

from tests.integration.harness import Sidecar, World


def component(name: str, type_: str, /, *, auth: str = "", **metadata: Any) -> str:
    """A Component; a value that is a mapping is what the metadata has besides the name."""
    pairs = [
        {"name": key, **(value if isinstance(value, dict) else {"value": value})} for key, value in metadata.items()
    ]
    document: dict[str, Any] = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": name},
        "spec": {"type": type_, "version": "v1", "metadata": pairs},
    }
    if auth:
        document["auth"] = {"secretStore": auth}
    return json.dumps(document) + "\n---\n"


def sqlite(world: World, name: str = "lite", file: str = "state.db", /, **metadata: Any) -> str:
    return component(name, "state.sqlite", connectionString=str(world.folder / file), **metadata)


def start(world: World, *resources: str, name: str = "app", flags: tuple[str, ...] = (), **options: Any) -> Sidecar:
    """A sidecar with these resources; its app id is the name with what the world adds."""
    folder = world.folder / f"resources-{name}"
    for number, resource in enumerate(resources):
        world.write(f"{folder.name}/{number}.yaml", resource)
    return world.daprd(name, None, "--resources-path", str(folder), *flags, **options)
