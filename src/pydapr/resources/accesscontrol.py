"""Who may call the app: `spec.accessControl`. Made by `configuration`, compiled by `policy.access`."""

from __future__ import annotations

from pydapr.lib.record import Record

ALLOW, DENY = "allow", "deny"


class Operation(Record):
    """What the caller may do with one method."""

    name: str = ""
    http_verbs: tuple[str, ...] = ()
    action: str = ""


class AppPolicy(Record):
    """What one calling app may do."""

    app_id: str = ""
    default_action: str = ""
    trust_domain: str = ""
    namespace: str = ""
    operations: tuple[Operation, ...] = ()


class AccessControl(Record):
    """Who may call the app; `policy.access` checks and compiles it."""

    default_action: str = ALLOW
    trust_domain: str = "public"
    policies: tuple[AppPolicy, ...] = ()
