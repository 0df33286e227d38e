"""secretstores.hashicorp.vault reads secrets from HashiCorp Vault (or OpenBao): the KV secrets engine, version 2."""

import asyncio
import functools
import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pydapr.components import Wrong, component, option, options
from pydapr.components.drivers import thread
from pydapr.components.secretstores import MULTIPLE_KEY_VALUES, SecretStore, SecretStoreError
from pydapr.net import client_tls, dial, http
from pydapr.observe import logging

log = logging.get("dapr.contrib")

ADDRESS = "https://127.0.0.1:8200"
VERSION = "version_id"
"""The key of a request's metadata that asks for one version of a secret; the latest without."""

SECONDS = 10.0
MAX_DEPTH = 32
"""How deep folders of secrets are listed."""

AT_A_TIME = 8
"""Secrets of a listing that are read side by side."""


@options
class Options:
    vault_addr: str = option("URL of the server.", default=ADDRESS)
    vault_token: str = option("The token; or `vaultTokenMountPath`.", default="")
    vault_token_mount_path: str = option("Path of a file that has the token, read at start.", default="")
    vault_kv_prefix: str = option("The folder in which all secrets are.", default="dapr")
    vault_kv_use_prefix: bool = option("Whether there is such a folder.", default=True)
    engine_path: str = option("Where the secrets engine is mounted.", default="secret")
    vault_value_type: str = option("`map`: secrets have keys. `text`: all of them as one JSON text.", default="map")
    ca_pem: str = option("Whom to trust, as PEM text; without any of these three, whom the system trusts.", default="")
    ca_path: str = option("Whom to trust: a folder of PEM files.", default="")
    ca_cert: str = option("Whom to trust: a PEM file.", default="")
    tls_server_name: str = option("The server's name in its certificate, if it is not that in the URL.", default="")
    skip_verify: str = option("`true` trusts everybody. For development.", default="false")


@component("secretstores.hashicorp.vault", Options)
class Vault(SecretStore):
    """`metadata.version_id` of a request asks for one version. A bulk request lists all folders below the prefix."""

    def __init__(self, options: Options) -> None:
        if options.vault_value_type not in ("", "map", "text"):
            raise Wrong("vaultValueType: accepted values are map and text")
        if bool(options.vault_token) == bool(options.vault_token_mount_path):
            both = "both" if options.vault_token else "neither"
            raise Wrong(f"one of vaultToken and vaultTokenMountPath is needed, and {both} of them is set")
        self._options = options
        self._is_text = options.vault_value_type == "text"
        if not self._is_text:
            self.features = (MULTIPLE_KEY_VALUES,)
        prefix = (options.vault_kv_prefix or "dapr") if options.vault_kv_use_prefix else ""
        self._base = f"{(options.vault_addr or ADDRESS).rstrip('/')}/v1/{(options.engine_path or 'secret').strip('/')}"
        self._folder = f"{prefix.strip('/')}/" if prefix else ""
        self._headers: dict[str, str] = {}
        self._client = http.Client()

    async def open(self) -> None:
        dial.parse_url(self._base)
        token, self._client = await thread.run(_prepare, self._options)
        self._headers = {"x-vault-token": token, "x-vault-request": "true"}

    async def close(self) -> None:
        self._client.close()

    async def get(self, name: str, metadata: Mapping[str, str]) -> Mapping[str, str]:
        found = await self._read(name, metadata.get(VERSION, "0"))
        if found is None:
            raise SecretStoreError(f"getSecret {name} failed secret key or version not exist")
        return found

    async def get_bulk(self, metadata: Mapping[str, str]) -> Mapping[str, Mapping[str, str]]:
        version = metadata.get(VERSION, "0")
        names = await self._list("")
        found: dict[str, Mapping[str, str]] = {}
        for start in range(0, len(names), AT_A_TIME):
            some = names[start : start + AT_A_TIME]
            read = await self._read_some(some, version)
            found |= {name: values for name, values in zip(some, read, strict=True) if values is not None}
        return found

    async def _read_some(self, names: list[str], version: str) -> list[dict[str, str] | None]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._read(name, version)) for name in names]
        except ExceptionGroup as failed:
            # Not `except*`: before 3.11.4, Python puts what is raised there into a group, too.
            refused, others = failed.split(SecretStoreError)
            if refused is None or others is not None:
                raise
            raise refused.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _read(self, name: str, version: str) -> dict[str, str] | None:
        """The keys and values of a secret, None when it, or this version of it, is not there."""
        path = f"data/{self._folder}{_clean(name)}?version={quote(version, '')}"
        answer = await self._call("GET", path, "couldn't get secret")
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise SecretStoreError(
                f"couldn't get successful response, status code {answer.status}, body {_reason(answer)}"
            )
        data = _data(answer).get("data") or {}
        if self._is_text:
            return {name: json.dumps(data, separators=(",", ":"), ensure_ascii=False)}
        if not isinstance(data, dict):
            raise SecretStoreError(f"couldn't decode response body: secret {name} has no keys")
        for key, value in data.items():
            if not isinstance(value, str | None):
                raise SecretStoreError(
                    f"couldn't decode response body: the value of key {key} of secret {name} is no text; "
                    "vaultValueType text can read it"
                )
        return {key: value or "" for key, value in data.items()}

    async def _list(self, folder: str, depth: int = 0) -> list[str]:
        """The names of all secrets in a folder and those below it."""
        if depth > MAX_DEPTH:
            raise SecretStoreError(f"list keys: folders are more than {MAX_DEPTH} deep")
        answer = await self._call("LIST", f"metadata/{self._folder}{_clean(folder)}", "couldn't list secrets")
        if answer.status != 200:
            raise SecretStoreError(
                f"list keys couldn't get successful response, status code: {answer.status}, response {_reason(answer)}"
            )
        names: list[str] = []
        keys = _data(answer).get("keys")
        if not isinstance(keys, list):
            raise SecretStoreError("list keys: the response has none")
        for key in map(str, keys):
            if key.endswith("/"):
                names += await self._list(folder + key, depth + 1)
            else:
                names.append(folder + key)
        return names

    async def _call(self, method: str, path: str, what: str) -> http.Answer:
        try:
            return await self._client.request(method, f"{self._base}/{path}", self._headers, seconds=SECONDS)
        except (OSError, ValueError) as error:
            raise SecretStoreError(f"{what}: {error}") from None


def _prepare(options: Options) -> tuple[str, http.Client]:
    """The token, and a client that trusts whom it should. Reads files."""
    token = options.vault_token or _content(options.vault_token_mount_path, "vault token from mount path").strip()
    if not token or not token.isprintable() or not token.isascii():
        raise Wrong("the token is empty or holds what no token may")
    if options.skip_verify == "true":
        log.info("hashicorp vault: you are using 'skipVerify' to skip server config verify which is unsafe!")
        return token, http.Client(functools.partial(dial.to, verify=False))
    trusted = options.ca_pem
    if not trusted and options.ca_path:
        trusted = "\n".join(_content(path, "CA file from disk") for path in _files(options.ca_path))
        if not trusted:
            raise Wrong(f"couldn't read certificates at {options.ca_path}: there are none")
    elif not trusted and options.ca_cert:
        trusted = _content(options.ca_cert, "CA file from disk")
    name = options.tls_server_name
    if not trusted:
        return token, http.Client(functools.partial(dial.to, server_name=name))
    try:
        context = client_tls.context(trusted, "", "")
    except ValueError:
        raise Wrong("couldn't read PEM: caPem, caPath or caCert holds no certificate") from None
    return token, http.Client(functools.partial(dial.to, context=context, server_name=name))


def _files(folder: str) -> list[str]:
    """All files in a folder and those below it, as Vault's own tools read them."""
    return sorted(os.path.join(where, name) for where, _, names in os.walk(folder) for name in names)


def _content(path: str, what: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise OSError(f"couldn't read {what} {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Wrong(f"couldn't read {what} {path}: it is no text") from None


def _clean(name: str) -> str:
    """A name as part of a URL. One that leads out of its folder is none: what it names may not be asked for."""
    if any(part in (".", "..") for part in name.split("/")):
        raise SecretStoreError(f"{name} is no name of a secret")
    return quote(name, "/")


def _data(answer: http.Answer) -> Mapping[str, Any]:
    try:
        data = json.loads(answer.body)["data"]
    except (ValueError, LookupError, TypeError):
        data = None
    if not isinstance(data, dict):
        raise SecretStoreError("couldn't decode response body: it is none of a KV version 2 engine")
    return data


def _reason(answer: http.Answer) -> str:
    """What Vault itself says of an error. Nothing else of its answer is repeated."""
    try:
        errors = json.loads(answer.body)["errors"]
        return "; ".join(str(error) for error in errors)[:300] or "without a reason"
    except (ValueError, LookupError, TypeError):
        return "that is none of Vault's"
