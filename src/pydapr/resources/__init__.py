"""Resources: the YAML documents that say which components, subscriptions and rules a process has.

One file per kind turns a document into a frozen value; `documents` reads YAML, `fields` reads typed keys.
`load_folder` is called by `daprd.load` at start and again when files change. Nothing is logged here: what is
worth a line is returned as `Diagnostic`, in the order in which the original would log.
"""

from __future__ import annotations

from pydapr.lib.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydapr.resources.component import Component
    from pydapr.resources.httpendpoint import HttpEndpoint
    from pydapr.resources.resiliency import Resiliency
    from pydapr.resources.subscription import Subscription

WARNING, ERROR = "warning", "error"

RESILIENCY = "Resiliency"
COMPONENT = "Component"
HTTP_ENDPOINT = "HTTPEndpoint"
SUBSCRIPTION = "Subscription"
WORKFLOW_ACCESS_POLICY = "WorkflowAccessPolicy"
MCP_SERVER = "MCPServer"
CONFIGURATION = "Configuration"


class Diagnostic(Record):
    """A line that the caller should log: level (`warning`, `error`), scope, message."""

    level: str
    scope: str
    message: str


class ResourceError(Exception):
    """The resources cannot be used and the process must end; the message is the original's.

    `reason` is the message without the words of the start (`failed to load components: `), for reloads.
    """

    def __init__(self, message: str, kind: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.message, self.kind, self.reason = message, kind, reason or message


class Document(Record):
    """A resource of a kind that is read further by the part it concerns; `content` is the whole document."""

    kind: str
    name: str
    namespace: str
    scopes: tuple[str, ...]
    content: Mapping[str, object]

    @property
    def log_name(self) -> str:
        return self.name


class Resources(Record):
    """What the folders hold for this app, in the order of folders, files and documents."""

    components: tuple[Component, ...] = ()
    http_endpoints: tuple[HttpEndpoint, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    resiliencies: tuple[Resiliency, ...] = ()
    mcp_servers: tuple[Document, ...] = ()
    workflow_access_policies: tuple[Document, ...] = ()
    configurations: tuple[Document, ...] = ()
    """Only watched for changes; the Configuration in force comes from `--config`."""
    diagnostics: Mapping[str, tuple[Diagnostic, ...]] = {}
    """By kind, so that each can be logged where its kind is loaded."""


def load_folder(paths: Sequence[str], app_id: str, namespace: str) -> Resources:
    """The resources in the YAML files directly in `paths` that are meant for `app_id`.

    `namespace` is the environment's NAMESPACE, empty when unset; then namespaces in documents do not matter.
    Raises ResourceError when a folder is missing or two resources of a kind have the same name.
    """
    if not paths:
        return Resources()
    from pydapr.resources import folder

    return folder.load(paths, app_id, namespace)
