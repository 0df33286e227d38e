"""secretstores.local.env reads secrets from the environment of the sidecar. For development."""

import os
from collections.abc import Mapping

from pydapr.components import component, option, options
from pydapr.components.secretstores import SecretStore
from pydapr.observe import logging

log = logging.get("dapr.contrib")


@options
class Options:
    prefix: str = option("What the names of the variables begin with; names of secrets go without it.", default="")


@component("secretstores.local.env", Options)
class LocalEnv(SecretStore):
    """A variable that is not set is an empty secret. What the sidecar itself keeps secret is not given away."""

    def __init__(self, options: Options) -> None:
        self._prefix = options.prefix

    async def get(self, name: str, metadata: Mapping[str, str]) -> Mapping[str, str]:
        variable = self._prefix + name
        if not _is_allowed(variable):
            log.warning(f"Access to env var {name} is forbidden")
            return {name: ""}
        if "\0" in variable:
            return {name: ""}  # no system has such a variable, and asking for it is an error
        return {name: os.environ.get(variable, "")}

    async def get_bulk(self, metadata: Mapping[str, str]) -> Mapping[str, Mapping[str, str]]:
        start = len(self._prefix)
        return {
            variable[start:]: {variable[start:]: value}
            for variable, value in os.environ.items()
            if variable.startswith(self._prefix) and len(variable) > start and _is_allowed(variable)
        }


def _is_allowed(variable: str) -> bool:
    name = variable.upper()
    return name != "APP_API_TOKEN" and not name.startswith("DAPR_")
