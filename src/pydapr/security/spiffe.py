"""SPIFFE ids, `spiffe://<trust domain>/ns/<namespace>/<app id>`, and the rules for their parts.

Used by sentry, which gives them out, and by whoever checks a certificate. Pure. The texts of errors are those of
the original's library, since sentry answers with them (github.com/spiffe/go-spiffe v2, `spiffeid`).
"""

from __future__ import annotations

import os

from pydapr.lib.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEME = "spiffe://"
PUBLIC = "public"
"""The trust domain of those who do not say theirs."""

CONTROL_PLANE = frozenset({"dapr-operator", "dapr-placement", "dapr-injector", "dapr-sentry", "dapr-scheduler"})

_DOMAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_")
_SEGMENT = _DOMAIN | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Malformed(ValueError):
    """A text is no SPIFFE id or no part of one."""


class Id(Record):
    """A workload: in its trust domain the one of this namespace and app id."""

    trust_domain: str
    namespace: str
    app_id: str

    @property
    def path(self) -> str:
        return f"/ns/{self.namespace}/{self.app_id}"

    def __str__(self) -> str:
        return f"{SCHEME}{self.trust_domain}{self.path}"


def new(trust_domain: str, namespace: str, app_id: str) -> Id:
    """The id of these parts. Raises `Malformed`."""
    if not (trust_domain and namespace and app_id):
        raise Malformed("malformed SPIFFE ID")
    for segment in (namespace, app_id):
        _check_segment(segment)
    return Id(domain(trust_domain), namespace, app_id)


def sentry(trust_domain: str, namespace: str) -> Id:
    """The id of the certificate authority. Raises `Malformed`."""
    return new(trust_domain, namespace, "dapr-sentry")


def parse(text: str) -> Id:
    """The id in `text`; further segments after the app id are left out of account. Raises `Malformed`."""
    if not text.startswith(SCHEME):
        raise Malformed("scheme is missing or invalid" if text else "cannot be empty")
    name, slash, path = text[len(SCHEME) :].partition("/")
    _check_domain(name)
    segments = path.split("/") if slash else []
    for position, segment in enumerate(segments):
        if not segment and position == len(segments) - 1:
            raise Malformed("path cannot have a trailing slash")
        _check_segment(segment)
    if len(segments) < 3 or segments[0] != "ns":
        raise Malformed(f"malformed SPIFFE ID: {text}")
    return Id(name, segments[1], segments[2])


def domain(text: str) -> str:
    """The trust domain in `text`, which is its name or an id in it. Raises `Malformed`."""
    if ":/" in text:
        if not text.startswith(SCHEME):
            raise Malformed("scheme is missing or invalid")
        text = text[len(SCHEME) :].partition("/")[0]
    _check_domain(text)
    return text


def current_namespace(environ: Mapping[str, str] = os.environ) -> str:
    """The namespace of this process."""
    return environ.get("NAMESPACE", "default")


def _check_domain(name: str) -> None:
    if not name:
        raise Malformed("trust domain is missing")
    if not _DOMAIN.issuperset(name):
        raise Malformed(
            "trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores"
        )


def _check_segment(segment: str) -> None:
    if not segment:
        raise Malformed("path cannot contain empty segments")
    if segment in (".", ".."):
        raise Malformed("path cannot contain dot segments")
    if not _SEGMENT.issuperset(segment):
        raise Malformed("path segment characters are limited to letters, numbers, dots, dashes, and underscores")
