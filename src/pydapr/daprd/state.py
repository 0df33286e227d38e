"""From Component resources to the stores of the state block: the prefix of keys, and encryption.

`daprd.components` asks for this before it opens a store. These pieces of metadata are the sidecar's, no store sees
them (v1.18.3, `pkg/encryption`, `pkg/components/state`). An encryption key that the original would pass over, and save
everything in the open, is refused here.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pydapr.blocks.state import State, Store, keys
from pydapr.components.state import StateStore
from pydapr.observe import logging
from pydapr.resources import component

if TYPE_CHECKING:
    from pydapr.blocks.state import Cipher
    from pydapr.daprd.components import Opened
    from pydapr.daprd.measures import Measures
    from pydapr.policy.resiliency import Resiliency

log = logging.get("dapr.runtime.processor.state")

PRIMARY, SECONDARY = "primaryEncryptionKey", "secondaryEncryptionKey"
_KEYS = {PRIMARY.lower(): PRIMARY, SECONDARY.lower(): SECONDARY}

Make = Callable[[StateStore], Store]
"""The store of the block around one that is open."""


class Refused(ValueError):
    """What a component says of keys or encryption cannot be followed."""


def plan(wanted: component.Component, properties: Mapping[str, str], app_id: str, namespace: str) -> Make:
    """How the store that `wanted` describes is used. `properties` are its metadata, resolved. Raises `Refused`."""
    cipher = _cipher(wanted, properties)
    strategy = next((value for name, value in properties.items() if name.lower() == keys.METADATA), None)
    try:
        prefix = keys.prefix(strategy, wanted.name, app_id, namespace)
    except keys.Illegal as error:
        raise Refused(f"failed to save lock keyprefix: {error}") from None
    return lambda store: Store(wanted.name, store, prefix, cipher)


def block(app_id: str, opened: "Opened | None", policies: "Resiliency | None", measures: "Measures | None") -> State:
    """The block over the stores that are open; `opened` is None where there are no components at all."""
    made = State(app_id, opened.state_stores if opened is not None else {}, policies)
    made.metrics = measures.state if measures is not None else None
    return made


def _cipher(wanted: component.Component, properties: Mapping[str, str]) -> "Cipher | None":
    given: dict[str, tuple[str, str]] = {}
    for pair in wanted.metadata:
        name = _KEYS.get(pair.name.lower())
        if name is None:
            continue
        if pair.name != name:
            raise Refused(f"metadata {pair.name} must be written {name}; nothing would be encrypted")
        if pair.secret_key_ref is None or not pair.secret_key_ref.name:
            raise Refused(f"failed to extract encryption key: {name} must come from a secret, by secretKeyRef")
        if not properties.get(name):
            raise Refused(
                f"failed to extract encryption key: secret {pair.secret_key_ref.name} has no value for {name}; "
                "nothing would be encrypted"
            )
        given[name] = pair.secret_key_ref.name, properties[name]
    if not given:
        return None
    if PRIMARY not in given:
        raise Refused(f"{SECONDARY} is given without {PRIMARY}; nothing would be encrypted")
    from pydapr.security import sealed

    primary = given[PRIMARY][0]
    if SECONDARY in given and given[SECONDARY][0] == primary and given[SECONDARY][1] != given[PRIMARY][1]:
        raise Refused(f"{PRIMARY} and {SECONDARY} are two keys of secret {primary}; values could not tell them apart")
    try:
        cipher = sealed.Keys(wanted.name, primary, dict(given.values()))
    except ValueError as error:
        raise Refused(f"failed to extract encryption key: {error}") from None
    log.info(f"Automatic encryption enabled for state store {wanted.name}")
    log.info(
        "WARNING: Automatic state store encryption should never be used to store more than 4 billion items in the "
        "state store (including updates). Storing more items than that can cause the private key to be exposed."
    )
    return cipher
