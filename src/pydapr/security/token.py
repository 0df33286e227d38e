"""The token by which a process shows sentry who it is, if it has one, and the validator that it is for.

Read anew for each request of a certificate, because whoever gives tokens out also renews them. Used by `request`.
"""

from collections.abc import Mapping

UNKNOWN, INSECURE, KUBERNETES, JWKS = range(4)
"""Validators by their numbers in sentry's API."""

PROJECTED = "/var/run/secrets/dapr.io/sentrytoken/token"
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"


def read(environ: Mapping[str, str], in_kubernetes: bool) -> tuple[str, int]:
    """Token and validator; no token leaves the choice to sentry. Raises `OSError`, or `ValueError` without content."""
    path = environ.get("DAPR_SENTRY_TOKEN_FILE")
    if path is not None:
        if not path:
            raise ValueError("environmental variable DAPR_SENTRY_TOKEN_FILE is set with an empty value")
        token = _read(path)
        if not token:
            raise ValueError(f"token at path '{path}' is empty")
        return token, KUBERNETES if in_kubernetes else JWKS
    if in_kubernetes:
        for path in (PROJECTED, SERVICE_ACCOUNT):
            try:
                token = _read(path)
            except FileNotFoundError:
                continue
            if token:
                return token, KUBERNETES
    return "", UNKNOWN


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()
