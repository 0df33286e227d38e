"""Values that a resource gives by reference: from the environment, or from a secret store.

Called by what makes parts from resources (`daprd.endpoints`, `daprd.opening`). The rules are the original's (v1.18.3,
`pkg/runtime/processor/secret`); the words are clearer, and hold no value.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from pydapr.components.secretstores import SecretStore, SecretStoreError
from pydapr.lib.record import Record
from pydapr.observe import logging
from pydapr.resources.fields import NameValue, SecretKeyRef

log = logging.get("dapr.runtime.processor.secret")

SECONDS = 30.0
"""How long a store may take for one secret."""

_SHORT = 4
"""Values with fewer letters are too likely to be in a text by chance to be cut out of it."""


class NotLoaded(Exception):
    """A secret store that a resource refers to is not there, or not yet; the message tells who refers to it and why."""

    def __init__(self, store: str, message: str) -> None:
        super().__init__(message)
        self.store = store


class Owner(Record):
    """The resource that refers to something. `kind` and `name` are for messages, as `file` is."""

    kind: str
    name: str
    namespace: str = ""
    secret_store: str = ""
    file: str = ""

    def wants(self, what: str, ref: SecretKeyRef) -> str:
        """For messages: what is to come from where."""
        where = f" ({self.file})" if self.file else ""
        key = f"key {ref.key} of " if ref.key else ""
        store = f" in secret store {self.secret_store}" if self.secret_store else ""
        return f"{self.kind} {self.name}{where}: {what} is to come from {key}secret {ref.name}{store}"


class Given(Record):
    """What references have led to. `pairs` has all names, those without a value too; `faults` says why they have none.

    `hidden` are the names whose values must not be shown, and `secrets` these values.
    """

    pairs: tuple[tuple[str, str], ...] = ()
    faults: tuple[str, ...] = ()
    hidden: frozenset[str] = frozenset()
    secrets: tuple[str, ...] = ()

    def scrub(self, text: str) -> str:
        """`text` without any of the secrets, in whatever form an error may have quoted them."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            quoted = quote(secret, "", errors="surrogateescape")
            for form in {secret, secret.strip(), repr(secret)[1:-1], json.dumps(secret)[1:-1], quoted}:
                if not form or form not in text:
                    continue
                if len(form) < _SHORT:
                    return "the reason is not shown because it holds a secret"
                text = text.replace(form, "***")
        return text


async def resolve(
    owner: Owner, pairs: Iterable[NameValue], environ: Mapping[str, str], stores: Mapping[str, SecretStore]
) -> Given:
    """Names and values of `pairs`. Raises `NotLoaded`."""
    found, faults = [], []
    hidden: dict[str, str] = {}
    read: dict[str, Mapping[str, str] | str] = {}
    for pair in pairs:
        value, ref = pair.value or "", pair.secret_key_ref
        if not value and pair.env_ref:
            if is_allowed(pair.env_ref, environ):
                value = hidden[pair.name] = environ.get(pair.env_ref, "")
            else:
                log.warning(f"{owner.kind} {owner.name} references an env variable that isn't allowed: {pair.env_ref}")
        elif ref is not None and ref.name:
            if ref.name not in read:
                read[ref.name] = await _read(owner, pair.name, ref, stores)
            secret, fault = _pick(read[ref.name], ref)
            if secret:
                value = hidden[pair.name] = secret
            elif not value:
                faults.append(f"{owner.wants(pair.name, ref)}, {fault}")
        found.append((pair.name, value))
    return Given(tuple(found), tuple(faults), frozenset(hidden), tuple(filter(None, hidden.values())))


def _pick(answer: Mapping[str, str] | str, ref: SecretKeyRef) -> tuple[str, str]:
    """The value of a key, and why there is none."""
    if isinstance(answer, str):
        return "", answer
    key = ref.key or ref.name
    if key not in answer:
        return "", f"but the secret has no key {key}"
    return answer[key], "but that is empty"


async def _read(
    owner: Owner, what: str, ref: SecretKeyRef, stores: Mapping[str, SecretStore]
) -> Mapping[str, str] | str:
    """A whole secret, or why it cannot be had. Raises `NotLoaded`."""
    if not owner.secret_store:
        return "but the resource names no store (auth.secretStore)"
    store = stores.get(owner.secret_store)
    if store is None:
        raise NotLoaded(owner.secret_store, owner.wants(what, ref))
    try:
        async with asyncio.timeout(SECONDS):
            return await store.get(ref.name, {"namespace": owner.namespace})
    except TimeoutError:
        return f"but the store did not answer within {SECONDS:g} s"
    except SecretStoreError as error:
        return f"but cannot be had: {store.scrub(str(error))}"


def is_allowed(variable: str, environ: Mapping[str, str]) -> bool:
    """Whether a resource may read an environment variable: no token, nothing of Dapr's own, and only what is listed.

    The list, `DAPR_ENV_KEYS`, is given by the injector in Kubernetes.
    """
    name = variable.upper()
    if not name or name == "APP_API_TOKEN" or name.startswith("DAPR_") or " " in name:
        return False
    listed = environ.get("DAPR_ENV_KEYS", "")
    return not listed or name in listed.split(" ")
