"""Resources and Configuration from disk, and the components that they name. Called by `daprd.runtime`.

The order and the words of the log are the original's: the kinds one after the other, each with the faults
that were found in its documents.
"""

import contextlib
import os
from typing import TYPE_CHECKING

from pydapr import resources
from pydapr.blocks.metadata import AppConnection, Metadata
from pydapr.daprd import flags
from pydapr.lib import durations
from pydapr.lib.record import Record
from pydapr.observe import logging
from pydapr.resources import configuration

if TYPE_CHECKING:
    from pydapr.daprd import components
    from pydapr.observe.metrics_resiliency import ResiliencyMetrics
    from pydapr.observe.metrics_service import AccessMetrics, ComponentMetrics
    from pydapr.policy.gate import Gate
    from pydapr.policy.resiliency import Resiliency

    Pipelines = tuple[components.Pipeline | None, components.Pipeline | None]

log = logging.get("dapr.runtime")
acl_log = logging.get("dapr.acl")


class Failed(Exception):
    """A resource stands in the way of the start."""


class Loaded(Record):
    """The Configuration in force and the resources meant for this app."""

    configuration: configuration.Configuration
    resources: resources.Resources


def load(settings: flags.Settings) -> Loaded:
    """Reads what the flags name. Raises `Failed`."""
    if not settings.configs:
        log.info("loading default configuration")
    try:
        config = configuration.load_files(settings.configs, os.environ)
    except configuration.ConfigurationError as error:
        raise Failed(f"error loading configuration: {error}") from None
    if config.features:
        log.info(f"Enabled features: {' '.join(sorted(config.features))}")
    try:
        found = resources.load_folder(settings.resources_paths, settings.app_id, settings.namespace)
    except resources.ResourceError as error:
        raise Failed(error.message) from None
    return Loaded(config, found)


def policies(loaded: Loaded, metrics: "ResiliencyMetrics | None" = None) -> "Resiliency | None":
    """What Resiliency resources say, None when there is none; faults in them are told and no reason not to start."""
    found = loaded.resources
    _tell(found, resources.RESILIENCY)
    if not found.resiliencies:
        return None
    from pydapr.policy import reading

    made = reading.load(found.resiliencies, metrics)
    made.base_urls = {endpoint.name: endpoint.base_url for endpoint in found.http_endpoints}
    return made


def gate(settings: flags.Settings, loaded: Loaded, metrics: "AccessMetrics | None") -> "Gate | None":
    """Who may call the app, None without rules. Raises `Failed` for rules that cannot be used."""
    rules = loaded.configuration.access_control
    if rules is None:
        return None
    from pydapr.app import paths
    from pydapr.policy import access
    from pydapr.policy import gate as made_of

    if rules.policies and not rules.default_action:
        acl_log.warning("No global default action has been specified. Setting default global action as Deny")
    try:
        compiled = access.compile(rules, settings.app_protocol in ("http", "https", "h2c"))
    except access.Invalid as error:
        raise Failed(str(error)) from None
    return made_of.Gate(compiled, paths.normalize, metrics) if compiled is not None else None


async def open_components(
    settings: flags.Settings,
    loaded: Loaded,
    stack: contextlib.AsyncExitStack,
    metrics: "ComponentMetrics | None" = None,
) -> "components.Opened | None":
    """Opens the components, None when there are none. Raises `Failed` for one that cannot be had, unless it says to
    ignore errors."""
    found = loaded.resources
    log.info("Loading components…")
    _tell(found, resources.COMPONENT)
    opened = None
    if found.components or loaded.configuration.http_pipeline or loaded.configuration.app_http_pipeline:
        from pydapr.daprd import components, opening

        opened = components.Opened()
        around = components.Surroundings(
            settings.app_id,
            settings.identity_namespace,
            os.environ,
            loaded.configuration.wasm_strict_sandbox,
            bool(settings.placement_addresses),
        )
        denied = loaded.configuration.components_deny
        try:
            await opening.Opening(around, denied, opened, stack, metrics).open_all(found.components)
        except components.CannotOpen as error:
            raise Failed(str(error)) from None
    log.info("Waiting for all outstanding components to be processed…")
    log.info("All outstanding components processed")
    log.info("Loading endpoints…")
    _tell(found, resources.HTTP_ENDPOINT)
    for endpoint in found.http_endpoints:
        log.info(f"Found http endpoint: {endpoint.name}")
    log.info("Waiting for all outstanding http endpoints to be processed…")
    log.info("All outstanding http endpoints processed")
    log.info("Loading Declarative Subscriptions…")
    _tell(found, resources.SUBSCRIPTION)
    for subscription in found.subscriptions:
        log.info(f"Found Subscription: {subscription.name}")
    for kind in (resources.MCP_SERVER, resources.WORKFLOW_ACCESS_POLICY):
        _tell(found, kind)
    _say_later("MCPServer", [server.name for server in found.mcp_servers])
    if found.workflow_access_policies:
        names = ", ".join(policy.name for policy in found.workflow_access_policies)
        raise Failed(f"WorkflowAccessPolicy {names} cannot be enforced in this version of pydapr; remove it")
    return opened


def pipelines(loaded: Loaded, opened: "components.Opened | None") -> "Pipelines":
    """What requests to the API pass, and what calls to the app. Raises `Failed`."""
    if opened is None:
        return None, None
    from pydapr.daprd import components

    config = loaded.configuration
    try:
        return (
            components.pipeline("server", config.http_pipeline, opened),
            components.pipeline("app", config.app_http_pipeline, opened),
        )
    except components.CannotOpen as error:
        raise Failed(str(error)) from None


def _tell(found: resources.Resources, kind: str) -> None:
    for diagnostic in found.diagnostics.get(kind, ()):
        line = logging.get(diagnostic.scope)
        (line.error if diagnostic.level == resources.ERROR else line.warning)(diagnostic.message)


def _say_later(kind: str, names: list[str]) -> None:
    if names:
        log.warning(f"{kind} {', '.join(names)} has no effect in this version of pydapr")


def describe(settings: flags.Settings, loaded: Loaded, opened: "components.Opened | None" = None) -> Metadata:
    """The sidecar's metadata."""
    connection = AppConnection(
        settings.app_port, settings.app_protocol, settings.app_channel_address, settings.app_max_concurrency
    )
    if settings.app_health is not None:
        connection.health_path = settings.app_health.path
        connection.health_interval = durations.text(settings.app_health.interval)
        connection.health_timeout = durations.text(settings.app_health.timeout)
        connection.health_threshold = settings.app_health.threshold
    return Metadata(
        settings.app_id,
        sorted(loaded.configuration.features),
        connection,
        opened.listed() if opened is not None else [],
        http_endpoints=[endpoint.name for endpoint in loaded.resources.http_endpoints],
    )
