"""secretstores.local.file reads secrets from a JSON file, at start and whenever the file changes. For development."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydapr.components import Wrong, component, option, options
from pydapr.components.drivers import thread
from pydapr.components.secretstores import MULTIPLE_KEY_VALUES, SecretStore, SecretStoreError
from pydapr.observe import logging
from pydapr.security import watch

log = logging.get("dapr.contrib")

LOOK_SECONDS = 0.5
"""Between two looks at the file."""


@options
class Options:
    secrets_file: str = option("Path of the JSON file; a relative one begins where the sidecar was started.")
    nested_separator: str = option("What stands between the names of nested objects.", default=":")
    multi_valued: bool = option(
        "The objects of the first level are secrets with several keys. Without, each text is a secret.", default=False
    )


@component("secretstores.local.file", Options)
class LocalFile(SecretStore):
    """Numbers, `true` and `false` are texts as they stand in the file; `null` is an empty one."""

    tells = True

    def __init__(self, options: Options) -> None:
        self._path = options.secrets_file
        self._separator = options.nested_separator or ":"
        self._is_multi_valued = options.multi_valued
        if options.multi_valued:
            self.features = (MULTIPLE_KEY_VALUES,)
        self._secrets: dict[str, dict[str, str]] = {}
        self._file: watch.State = ()

    async def open(self) -> None:
        self._file = watch.state([self._path])
        self._secrets = self._read(await thread.run(_read, self._path))

    async def watch(self, changed: Callable[[], None]) -> None:
        """What the file held stays in force while it cannot be read."""
        while True:
            self._file = await watch.changed([self._path], self._file, LOOK_SECONDS)
            try:
                self._secrets = self._read(await thread.run(_read, self._path))
            except (OSError, ValueError) as error:
                log.error(f"The secrets stay what they were: {error}")
                continue
            changed()

    def _read(self, content: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        """Raises `Wrong`."""
        try:
            return self._secrets_in(content)
        except RecursionError:
            raise Wrong(f"secrets file {self._path} is nested too deeply") from None

    def _secrets_in(self, content: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        if self._is_multi_valued:
            return {
                name: self._flat(value) if isinstance(value, dict | list) else {name: _text(value)}
                for name, value in content.items()
            }
        return {name: {name: value} for name, value in self._flat(content).items()}

    async def get(self, name: str, metadata: Mapping[str, str]) -> Mapping[str, str]:
        found = self._secrets.get(name)
        if found is None:
            raise SecretStoreError(f"secret {name} not found")
        return found

    async def get_bulk(self, metadata: Mapping[str, str]) -> Mapping[str, Mapping[str, str]]:
        return self._secrets

    def _flat(self, value: object) -> dict[str, str]:
        """The texts in `value`, by their paths in it. Raises `Wrong` when two have the same."""
        found: dict[str, str] = {}
        for path, text in _walk(value, ()):
            name = self._separator.join(path)
            if name in found:
                raise Wrong(f"secrets file {self._path}: {name} is there twice; another nestedSeparator helps")
            found[name] = text
        return found


def _read(path: str) -> Mapping[str, Any]:
    try:
        with open(path, "rb") as file:
            content = json.load(file, parse_int=str, parse_float=str)
    except OSError as error:
        raise OSError(f"open {path}: {(error.strerror or str(error)).lower()}") from None
    except RecursionError:
        raise Wrong(f"secrets file {path} is nested too deeply") from None
    except ValueError as error:  # whose words are about places, not about what stands there
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "it is not in UTF-8"
        raise Wrong(f"secrets file {path} holds no JSON: {reason}") from None
    if not isinstance(content, dict):
        raise Wrong(f"secrets file {path} holds no JSON object")
    return content


def _walk(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    items: list[tuple[str, object]]
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = [(str(number), item) for number, item in enumerate(value)]
    else:
        yield path, _text(value)
        return
    for name, item in items:
        yield from _walk(item, (*path, name))


def _text(value: object) -> str:
    """A scalar of the file as text: numbers have been left as they were written."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
