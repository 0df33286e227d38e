"""Folders of YAML files to resources; loaded by `resources.load_folder` only when there are folders.

Each file is read and each document parsed once; then every kind takes what is its own, as the original does
in separate passes, so faults are told once per kind (`daprd load Component error when parsing …`).
"""

from __future__ import annotations

import os

from pydapr import resources
from pydapr.lib.record import Record
from pydapr.resources import component, fields, httpendpoint, resiliency, subscription
from pydapr.resources.fields import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Protocol, TypeVar

    class _Resource(Protocol):
        @property
        def name(self) -> str: ...
        @property
        def namespace(self) -> str: ...
        @property
        def scopes(self) -> tuple[str, ...]: ...
        @property
        def log_name(self) -> str: ...

    R = TypeVar("R", bound=_Resource)

_V1, _V2 = "dapr.io/v1alpha1", "dapr.io/v2alpha1"
_LOADER_SCOPE, _RUNTIME_SCOPE = "dapr.runtime.loader.disk", "dapr.runtime"


class _Entry(Record):
    """A document: the mapping, or what is wrong with it; `number` counts from 1."""

    number: int
    api_version: str = ""
    kind: str = ""
    name: str = ""
    content: Mapping[str, object] = {}
    fault: str = ""


class _File(Record):
    """A file of a folder; `position` orders what comes from several. No YAML: no entries."""

    position: tuple[int, int]
    name: str
    path: str
    is_yaml: bool
    is_folder: bool
    entries: tuple[_Entry, ...] = ()
    fault: str = ""
    first: _Entry | None = None
    """The first document by YAML's own rules, which is all that counts for resiliency."""


def load(paths: Sequence[str], app_id: str, namespace: str) -> resources.Resources:
    """See `resources.load_folder`."""
    files = [file for position, path in enumerate(paths) for file in _files(position, path)]
    notes: dict[str, tuple[resources.Diagnostic, ...]] = {}
    resiliencies = _resiliencies(files, app_id, notes)

    def section(kind: str, read: Callable[[Fields], R], start: str) -> tuple[R, ...]:
        taken = _take(files, kind, _V1, read, notes)
        return _filter(kind, [item for _, item in taken], app_id, namespace, start)

    return resources.Resources(
        resiliencies=resiliencies,
        components=section(resources.COMPONENT, component.read, "failed to load components"),
        http_endpoints=_endpoints(files, app_id, namespace, notes),
        subscriptions=_subscriptions(files, app_id, notes),
        workflow_access_policies=section(
            resources.WORKFLOW_ACCESS_POLICY,
            _generic(resources.WORKFLOW_ACCESS_POLICY),
            "failed to load workflow access policies",
        ),
        mcp_servers=section(resources.MCP_SERVER, _generic(resources.MCP_SERVER), "failed to load mcpservers"),
        configurations=_configurations(files, notes),
        diagnostics=notes,
    )


def _files(position: int, path: str) -> Iterator[_File]:
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except OSError as error:
        reason = (error.strerror or "").lower()
        message = f"failed to create watcher: failed to add target {path}: {reason}"
        raise resources.ResourceError(message, reason=f"open {path}: {reason}") from error
    for order, entry in enumerate(entries):
        is_yaml = os.path.splitext(entry.name)[1].lower() in (".yaml", ".yml")
        file = _File((position, order), entry.name, os.path.join(path, entry.name), is_yaml, _is_folder(entry))
        yield _parsed(file) if is_yaml and not file.is_folder else file


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _parsed(file: _File) -> _File:
    from pydapr.resources import documents

    try:
        with open(file.path, "rb") as stream:
            content = stream.read()
    except OSError as error:
        return file.replace(fault=f"open {file.path}: {(error.strerror or '').lower()}")
    entries = tuple(_entry(number, text) for number, text in enumerate(documents.split(content), 1))
    first = entries[0] if entries else None
    if first is None or (len(entries) > 1 and not first.kind and not first.fault):
        first = _entry(1, content)  # only comments before the first separator
    return file.replace(entries=entries, first=first)


def _entry(number: int, text: bytes) -> _Entry:
    from pydapr.resources import documents

    try:
        content = documents.decode(text)
    except documents.DocumentError as error:
        return _Entry(number, fault=f"error converting YAML to JSON: {error}")
    if content is None:
        return _Entry(number)
    if not isinstance(content, dict):
        what = "array" if isinstance(content, list) else "string"
        what = "number" if isinstance(content, int | float) else what
        fault = f"json: cannot unmarshal {what} into Go value of type v1.TypeMeta"
        return _Entry(number, fault=f"error unmarshaling JSON: while decoding JSON: {fault}")
    document = Fields(content, "TypeMeta")
    try:
        name = document.child("metadata", "ObjectMeta").text("name")
        return _Entry(number, document.text("apiVersion"), document.text("kind"), name, content)
    except fields.FieldError as error:
        return _Entry(number, fault=f"error unmarshaling JSON: while decoding JSON: {error}")


def _take(
    files: list[_File],
    kind: str,
    api_version: str,
    read: Callable[[Fields], R],
    notes: dict[str, tuple[resources.Diagnostic, ...]],
) -> list[tuple[tuple[int, int, int], R]]:
    """All resources of a kind with their places; faults go to `notes`."""
    taken: list[tuple[tuple[int, int, int], R]] = []
    for file in files:
        if file.is_folder:
            continue
        said = _not_yaml(file, kind)
        faults = []
        for entry in file.entries:
            try:
                resource = _read(entry, kind, api_version, read)
            except ValueError as error:
                faults.append(f"{error} (document {entry.number})")
                continue
            if isinstance(resource, component.Component | httpendpoint.HttpEndpoint):
                resource = resource.replace(file=file.path)
            if resource is not None:
                taken.append(((*file.position, entry.number), resource))
        if faults:
            what = f"daprd load {kind} error when parsing manifests yaml resource in {file.path}: "
            said = what + "\n".join(faults)
        if said:
            note = resources.Diagnostic(resources.WARNING, _LOADER_SCOPE, said)
            notes[kind] = (*notes.get(kind, ()), note)
    return taken


def _not_yaml(file: _File, kind: str) -> str:
    if file.fault:
        return f"daprd load {kind} error when opening file {file.path}: {file.fault}"
    if not file.is_yaml:
        return f"A non-YAML {kind} file {file.name} was detected, it will not be loaded"
    return ""


def _read(entry: _Entry, kind: str, api_version: str, read: Callable[[Fields], R]) -> R | None:
    """The resource, None when the document is of another kind; raises ValueError with the fault."""
    if entry.fault:
        raise ValueError(entry.fault)
    if entry.kind != kind or entry.api_version != api_version:
        return None
    faults = _path_segment_faults(entry.name)
    if faults:
        from pydapr.lib import quote

        raise ValueError(f"invalid name {quote.go(entry.name)} for {quote.go(kind)}: {'; '.join(faults)}")
    try:
        return read(Fields(entry.content, kind))
    except fields.FieldError as error:
        raise ValueError(f"error unmarshaling JSON: while decoding JSON: {error}") from error


def _path_segment_faults(name: str) -> list[str]:
    if name in (".", ".."):
        return [f"may not be '{name}'"]
    return [f"may not contain '{letter}'" for letter in "/%" if letter in name]


def _filter(kind: str, items: list[R], app_id: str, namespace: str, start: str) -> tuple[R, ...]:
    """Those for this namespace and app; raises ResourceError when a name is there twice."""
    kept: dict[str, R] = {}
    doubles = []
    for item in items:
        if namespace and item.namespace and item.namespace != namespace:
            continue
        if item.name in kept:
            existing = kept[item.name].log_name
            doubles.append(f"duplicate definition of {kind} name {item.log_name} with existing {existing}")
        elif _in_scope(item, app_id):
            kept[item.name] = item
    if doubles:
        reason = "\n".join(doubles)
        raise resources.ResourceError(f"{start}: {reason}", kind, reason)
    return tuple(kept.values())


def _in_scope(item: _Resource, app_id: str) -> bool:
    return not item.scopes or app_id in item.scopes


def _endpoints(
    files: list[_File], app_id: str, namespace: str, notes: dict[str, tuple[resources.Diagnostic, ...]]
) -> tuple[httpendpoint.HttpEndpoint, ...]:
    """Doubles among endpoints do not end the process: then there are none."""
    kind = resources.HTTP_ENDPOINT
    taken = [item for _, item in _take(files, kind, _V1, httpendpoint.read, notes)]
    try:
        return _filter(kind, taken, app_id, namespace, "failed to load HTTP endpoints")
    except resources.ResourceError as error:
        note = resources.Diagnostic(resources.WARNING, _RUNTIME_SCOPE, error.message)
        notes[kind] = (*notes.get(kind, ()), note)
        return ()


def _subscriptions(
    files: list[_File], app_id: str, notes: dict[str, tuple[resources.Diagnostic, ...]]
) -> tuple[subscription.Subscription, ...]:
    """Both versions together in the order of the files; neither names nor namespaces are compared."""
    kind = resources.SUBSCRIPTION
    taken = _take(files, kind, _V1, subscription.read_v1, notes)
    taken += _take(files, kind, _V2, subscription.read_v2, notes)
    taken.sort(key=lambda placed: placed[0])
    return tuple(item for _, item in taken if _in_scope(item, app_id))


def _resiliencies(
    files: list[_File], app_id: str, notes: dict[str, tuple[resources.Diagnostic, ...]]
) -> tuple[resiliency.Resiliency, ...]:
    """The first document of each file, of any version; only scopes are compared."""
    found: list[resiliency.Resiliency] = []
    said: list[resources.Diagnostic] = []
    for file in files:
        fault, level = "", resources.ERROR
        if not file.is_yaml:
            fault = f"A non-YAML resiliency file {file.name} was detected, it will not be loaded"
            level = resources.WARNING
        elif file.fault or file.is_folder:
            fault = f"Could not read resiliency file {file.name}: {file.fault or 'is a directory'}"
        elif file.first and file.first.fault:
            fault = f"Could not determine resource type: {file.first.fault}"
        elif file.first and file.first.kind == resources.RESILIENCY:
            try:
                found.append(resiliency.read(Fields(file.first.content, resources.RESILIENCY)))
            except fields.FieldError as error:
                reason = f"error unmarshaling JSON: while decoding JSON: {error}"
                fault = f"Could not parse resiliency file {file.name}: {reason}"
        if fault:
            said.append(resources.Diagnostic(level, _RUNTIME_SCOPE, fault))
    if said:
        notes[resources.RESILIENCY] = tuple(said)
    return tuple(item for item in found if _in_scope(item, app_id))


def _configurations(
    files: list[_File], notes: dict[str, tuple[resources.Diagnostic, ...]]
) -> tuple[resources.Document, ...]:
    kind = resources.CONFIGURATION
    return tuple(item for _, item in _take(files, kind, _V1, _generic(kind), notes))


def _generic(kind: str) -> Callable[[Fields], resources.Document]:
    def read(document: Fields) -> resources.Document:
        about = document.child("metadata", "ObjectMeta")
        return resources.Document(
            kind,
            about.text("name"),
            about.text("namespace"),
            document.texts("scopes"),
            document.mapping(),
        )

    return read
