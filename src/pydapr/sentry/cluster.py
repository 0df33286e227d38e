"""What mode kubernetes has beside the store and the validator: Configuration, domain of the cluster, who may run it.

Called by `runtime`, in that mode only.
"""

import asyncio
import os
import socket
from collections.abc import Mapping

from pydapr.observe import logging
from pydapr.resources import configuration as resource
from pydapr.resources import fields
from pydapr.sentry import configuration, kube

log = logging.get("dapr.sentry")
security_log = logging.get("dapr.runtime.security")

DNS_SECONDS = 2.0
_API = "kubernetes.default.svc"


class Refused(Exception):
    """Sentry must not run like this; the text says why."""


def check_user(environ: Mapping[str, str]) -> None:
    """In a cluster nobody is to run as root. Raises `Refused`."""
    if environ.get("DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK") == "true":
        security_log.warning("Skipping container UID/GID check due to env override.")
        return
    user = os.geteuid() if hasattr(os, "geteuid") else -1
    if user == 0:
        raise Refused(
            "current user UID(0) is root. Dapr must be run as a non-root user in Kubernetes environments. To override "
            "this check, set the environment variable 'DAPR_UNSAFE_SKIP_CONTAINER_UID_GID_CHECK=true'"
        )
    security_log.info(f"Running in Kubernetes environment as user {user}")


def check_namespace(environ: Mapping[str, str]) -> None:
    """In a cluster sentry has to be told where it is. Raises `Refused`."""
    if not environ.get("NAMESPACE"):
        raise Refused(f"'NAMESPACE' environment variable {'is empty' if 'NAMESPACE' in environ else 'not set'}")


async def rules(api: kube.Api, namespace: str, name: str) -> configuration.Rules:
    """What the Configuration of this name says. Raises `configuration.Invalid`."""
    try:
        document = await api.get(f"/apis/dapr.io/v1alpha1/namespaces/{namespace}/configurations/{name}")
        mtls = resource.read(fields.Fields(document, "Configuration")).mtls
        return configuration.read(mtls, in_kubernetes=True)
    except kube.Failed as error:
        reason = "config CRD not found" if error.status == 404 else str(error)
    except ValueError as error:
        reason = str(error)
    raise configuration.not_found(name, reason)


async def domain(fallback: str) -> str:
    """What names of services end in, as the DNS of the cluster says."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(DNS_SECONDS):
            found = await loop.getaddrinfo(_API, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
        full = str(found[0][3]).strip(".")
        if full.startswith(_API + "."):
            return full.removeprefix(_API + ".")
        reason = f"could not parse cluster domain from CNAME: {full}"
    except (OSError, TimeoutError, IndexError) as error:
        reason = str(error) or "no answer in time"
    log.error(f'Error getting Kubernetes cluster domain, falling back to "{fallback}": {reason}')
    return fallback
