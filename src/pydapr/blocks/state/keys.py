"""The keys under which a store keeps an app's state: a prefix, two bars, the app's own key. Pure; used by the block.

What the prefix is says the component's `keyPrefix` (v1.18.3, `pkg/components/state/state_config.go`).
"""

SEPARATOR = "||"
METADATA = "keyprefix"
"""The name of the component's metadata, in lower case."""

_DEFAULT = "appid"


class Illegal(ValueError):
    """A prefix has in it what separates it from keys."""


def prefix(strategy: str | None, store: str, app_id: str, namespace: str) -> str:
    """What stands before the keys of an app; None is a component that says nothing. Raises `Illegal`."""
    strategy = _DEFAULT if strategy is None else strategy.lower()
    if SEPARATOR in strategy:
        raise Illegal(f"input key/keyPrefix '{strategy}' can't contain '{SEPARATOR}'")
    if strategy == "none":
        return ""
    if strategy == "name":
        return store + SEPARATOR
    if strategy == "namespace" and namespace and app_id:
        return f"{namespace}.{app_id}{SEPARATOR}"
    if strategy in ("appid", "namespace"):
        return app_id + SEPARATOR if app_id else ""
    return strategy + SEPARATOR


def original(full: str) -> str:
    """The key as the app has it."""
    parts = full.split(SEPARATOR, 2)
    return parts[1] if len(parts) > 1 else full
