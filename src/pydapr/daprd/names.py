"""Name resolution as a Configuration chooses it (`spec.nameResolution`). Called by `daprd.runtime`.

A resolver that cannot be had does not end the start: the log tells, and apps are not found (as in the original).
"""

import os
from collections.abc import Mapping

from pydapr import components
from pydapr.components import nameresolution
from pydapr.components.nameresolution import standard
from pydapr.daprd import home
from pydapr.observe import logging
from pydapr.resources import configuration

log = logging.get("dapr.runtime")

OWN = ("", "mdns")
"""What is the self-hosted default: the registry, and mDNS beside it."""


async def open_resolver(wanted: configuration.NameResolution | None) -> nameresolution.Resolver:
    """A resolver that is open."""
    name = wanted.component if wanted is not None else ""
    if wanted is None or name in OWN:
        resolver = standard.self_hosted(home.folder(os.environ), logging.get("dapr.contrib"))
        await resolver.open()
        log.info("Initialized name resolution to the registry of this Dapr home, and mdns")
        return resolver
    version = wanted.version or "v1"
    try:
        found = components.find(f"nameresolution.{name}") if version in ("v0", "v1") else None
    except ModuleNotFoundError as error:
        _tell("CREATE_COMPONENT_FAILURE", wanted, f"it needs the library {error.name}, which is not installed")
        return nameresolution.Missing()
    if found is None:
        _tell("CREATE_COMPONENT_FAILURE", wanted, f"couldn't find name resolver {name}/{version}")
        return nameresolution.Missing()
    try:
        given = wanted.configuration if wanted.configuration is not None else {}
        if not isinstance(given, Mapping):
            raise ValueError("the configuration is no mapping")
        made = found.make(components.read(found.options, given))
        assert isinstance(made, nameresolution.Resolver)
        await made.open()
    except (OSError, ValueError) as error:
        _tell("INIT_COMPONENT_FAILURE", wanted, error)
        return nameresolution.Missing()
    log.info(f"Initialized name resolution to {name}")
    return made


async def register(
    resolver: nameresolution.Resolver, wanted: configuration.NameResolution | None, instance: nameresolution.Instance
) -> None:
    """Makes the sidecar known."""
    try:
        await resolver.register(instance)
    except (OSError, ValueError) as error:
        _tell("INIT_COMPONENT_FAILURE", wanted or configuration.NameResolution("mdns"), error)


def _tell(what: str, wanted: configuration.NameResolution, reason: object) -> None:
    name = f"nr ({wanted.component}/{wanted.version or 'v1'})"
    log.error(f"[{what}]: initialization error occurred for {name}: {reason}")
