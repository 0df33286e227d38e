"""Values that a resource gives by reference: from the environment, or from a secret store.

Called by what makes parts from resources (`daprd.endpoints`, `daprd.components`).
"""

from collections.abc import Iterable, Mapping

from pydapr.observe import logging
from pydapr.resources.fields import NameValue

log = logging.get("dapr.runtime.processor.secret")


class Unresolved(ValueError):
    """A value cannot be had; without it the resource would work in another way than it was meant to."""


def resolve(owner: str, pairs: Iterable[NameValue], environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Names and values of `pairs`; `owner` is kind and name for messages. Raises `Unresolved`."""
    found = []
    for pair in pairs:
        value = pair.value
        if not value and pair.env_ref:
            if is_allowed(pair.env_ref, environ):
                value = environ.get(pair.env_ref, "")
            else:
                log.warning(f"{owner} references an env variable that isn't allowed: {pair.env_ref}")
        elif pair.secret_key_ref is not None and not value:
            raise Unresolved(from_secret(owner, pair.name))
        found.append((pair.name, value or ""))
    return found


def from_secret(owner: str, what: str) -> str:
    """The reason why a value that stands in a secret store cannot be had."""
    return f"{owner}: {what} is to come from a secret store, which this version of pydapr does not have"


def is_allowed(variable: str, environ: Mapping[str, str]) -> bool:
    """Whether a resource may read an environment variable: no token, nothing of Dapr's own, and only what is listed.

    The list, `DAPR_ENV_KEYS`, is given by the injector in Kubernetes.
    """
    name = variable.upper()
    if not name or name == "APP_API_TOKEN" or name.startswith("DAPR_") or " " in name:
        return False
    listed = environ.get("DAPR_ENV_KEYS", "")
    return not listed or name in listed.split(" ")
