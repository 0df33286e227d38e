"""Which components there are: built in, in files and packages of one's own, and at sockets. For the commands
`component` and `components`."""

import importlib
import os
import pkgutil
from collections.abc import Iterator
from typing import NamedTuple

from pydapr import components
from pydapr.components import own, pluggable

SERVABLE = ", ".join(sorted(pluggable.SERVICES))


class Listed(NamedTuple):
    """One component: its type and version, where it is from, and what it says of itself or why it cannot."""

    type: str
    version: str
    origin: str
    found: components.Found | None
    description: str = ""


def socket_folder() -> str:
    """Where sockets are looked for."""
    return pluggable.folder(os.environ)


def is_servable(kind: str) -> bool:
    """Whether the protocol of pluggable components has this kind."""
    return kind.lower() in pluggable.SERVICES


def find(type_: str, version: str) -> tuple[components.Found | None, str]:
    """The component of a type in this process, or why there is none."""
    try:
        found = own.in_folder(type_, version, os.environ)
        found = found or components.find(type_, version) or own.installed(type_, version)
    except components.Wrong as error:
        return None, str(error)
    except ModuleNotFoundError as error:
        return None, f"{type_} needs the library {error.name}, which is not installed"
    shown = f"{type_}/{version}" if version else type_
    return found, "" if found is not None else f"There is no component {shown}; `dapr components` lists all"


def everything() -> list[Listed]:
    """All of them: what comes first in the list of a type is what a resource gets."""
    found = [*_files(), *_sockets(), *_built_in(), *_packages()]
    return sorted(found, key=lambda one: (one.type.lower(), one.version))  # which keeps that order


def _built_in() -> Iterator[Listed]:
    for kind in sorted(components.KINDS):
        try:
            package = importlib.import_module(f"pydapr.components.{kind}")
        except ModuleNotFoundError:
            continue
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                type_ = f"{kind}.{module.name.rpartition('.')[2].replace('_', '.')}"
                yield Listed(type_, "v1", "built in", None, f"needs the library {error.name}, which is not installed")
        for one in components.registered(kind):
            if one.make.__module__.startswith("pydapr.components."):
                yield _listed(one, "built in")


def _files() -> Iterator[Listed]:
    for path in own.files(os.environ):
        try:
            for found in own.load(path).values():
                yield _listed(own.checked(found, f"own component {path}"), path)
        except components.Wrong as error:
            type_ = os.path.basename(path).removesuffix(".py").replace("_", ".", 1)
            yield Listed(type_, "v1", path, None, str(error))


def _packages() -> Iterator[Listed]:
    for type_, package in own.packages():
        name, _, version = type_.partition("/")
        found, reason = find(name, version)
        if found is None:
            yield Listed(name, version or "v1", package, None, reason)
        elif not found.make.__module__.startswith("pydapr.components."):
            yield _listed(found, package)


def _listed(found: components.Found, origin: str) -> Listed:
    name, _, version = found.name.partition("/")
    return Listed(name, version or "v1", origin, found, found.entry()["description"])


def _sockets() -> Iterator[Listed]:
    listed = pluggable.sockets(os.environ)
    if not listed:
        return
    import asyncio

    from pydapr.components.drivers import pluggable as driver
    from pydapr.errors import RpcError

    for name, path in listed:
        try:
            services = asyncio.run(driver.offered(path))
        except RpcError as error:
            yield Listed(f"?.{name}", "v1", path, None, f"it does not say what it is: {error}")
            continue
        for kind, names in pluggable.SERVICES.items():
            there = [one for one in names if f"{pluggable.PACKAGE}.{one}" in services]
            if there:
                yield Listed(f"{kind}.{name}", "v1", path, None, f"pluggable component: {', '.join(there)}")
