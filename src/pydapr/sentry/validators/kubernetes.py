"""The validator `kubernetes` believes the service account token of a pod, for the app id that the pod is to have.

The API server says whether the token is good; the pod, whose name is in it, says which app it is, and its
Configuration in which trust domain. Texts are the original's (v1.18.3, `pkg/sentry/server/validator/kubernetes`).
"""

import base64
import json
from typing import Any

from pydapr.observe import logging
from pydapr.security import spiffe
from pydapr.sentry import kube, validators

log = logging.get("dapr.sentry.identity.kubernetes")

AUDIENCE = "dapr.io/sentry"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
PODS = "/api/v1/pods"
CONFIGURATIONS = "/apis/dapr.io/v1alpha1/configurations"

_APP_ID, _CONFIG, _CONTROL_PLANE = "dapr.io/app-id", "dapr.io/config", "dapr.io/control-plane"
_NO_POD = "kubernetes.io/pod/name claim is missing from Kubernetes token"


class Kubernetes(validators.Validator):
    def __init__(self, api: kube.Api, sentry: spiffe.Id) -> None:
        self._api = api
        self._sentry = sentry

    async def validate(self, request: validators.Request) -> str:
        validators.check(request)  # the trust domain that the request names does not matter
        namespace, account = await self._account(request.token)
        name = _pod_name(request.token)
        pod = await self._pod(namespace, name)
        if namespace != request.namespace:
            raise validators.Refused(f"namespace mismatch; received namespace: {request.namespace}")
        if (pod.get("spec") or {}).get("serviceAccountName") != account:
            log.error(f"Service account on pod {namespace}/{name} does not match token")
            raise validators.Refused("pod service account mismatch")
        annotations = pod["metadata"].get("annotations") or {}
        if _CONTROL_PLANE in annotations:
            expected = self._service(annotations, namespace)
            trust_domain = self._sentry.trust_domain
        else:
            expected = annotations.get(_APP_ID, name)
            trust_domain = ""
        if expected != request.id:
            raise validators.Refused(f"app-id mismatch. expected: {expected}, received: {request.id}")
        return trust_domain or await self._trust_domain(annotations.get(_CONFIG), namespace)

    async def _account(self, token: str) -> tuple[str, str]:
        """Namespace and name of the service account that the token is for."""
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE, str(self._sentry)]},
        }
        try:
            status = (await self._api.post(REVIEWS, review)).get("status") or {}
        except kube.Failed as error:
            raise validators.Refused(f"token review failed: {error}") from None
        if status.get("error"):
            raise validators.Refused(f"invalid token: {status['error']}")
        if not status.get("authenticated"):
            raise validators.Refused("authentication failed")
        parts = str((status.get("user") or {}).get("username", "")).split(":")
        if len(parts) != 4 or parts[0] != "system":
            raise validators.Refused("provided token is not a properly structured service account token")
        return parts[2], parts[3]

    async def _pod(self, namespace: str, name: str) -> kube.Object:
        try:
            pod = await self._api.find(PODS, namespace, name)
        except kube.Failed as error:
            log.error(f"Failed to get pod {namespace}/{name} for requested identity: {error}")
            pod = None
        if pod is None:
            raise validators.Refused("failed to get pod of identity")
        return pod

    def _service(self, annotations: kube.Object, namespace: str) -> str:
        """The id of a service of the control plane."""
        name = annotations[_CONTROL_PLANE]
        if namespace != self._sentry.namespace:
            raise validators.Refused(f"control plane service in namespace '{namespace}' is not allowed")
        if f"dapr-{name}" not in spiffe.CONTROL_PLANE:
            raise validators.Refused(f"unknown control plane service '{name}'")
        if _APP_ID in annotations:
            raise validators.Refused(f"control plane service '{name}' cannot have annotation '{_APP_ID}'")
        return f"dapr-{name}"

    async def _trust_domain(self, configuration: str | None, namespace: str) -> str:
        """What the Configuration of the app says, if it names one; an empty name is one that there is not."""
        if configuration is None:
            return spiffe.PUBLIC
        try:
            found = await self._api.find(CONFIGURATIONS, namespace, configuration)
        except kube.Failed as error:
            log.error(f'Failed to get configuration "{configuration}": {error}')
            found = None
        if found is None:
            raise validators.Refused("failed to get configuration")
        named = ((found.get("spec") or {}).get("accessControl") or {}).get("trustDomain") or spiffe.PUBLIC
        try:
            return spiffe.domain(str(named))
        except spiffe.Malformed as error:
            raise validators.Refused(f'failed to parse trust domain "{named}": {error}') from None


def _pod_name(token: str) -> str:
    """The pod that a token was given to. The API server has checked the token already."""
    parts = token.split(".")
    try:
        text = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)) if len(parts) == 3 else token.encode()
        claims: Any = json.loads(text)
        name = claims["kubernetes.io"]["pod"]["name"]
    except (KeyError, TypeError):
        raise validators.Refused(_NO_POD) from None
    except (ValueError, RecursionError) as error:
        raise validators.Refused(f"failed to parse Kubernetes token: {error}") from None
    if not isinstance(name, str) or not name:
        raise validators.Refused(_NO_POD)
    return name
