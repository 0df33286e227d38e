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
from pydapr.resources import component, configuration

if TYPE_CHECKING:
    from pydapr.daprd import components
    from pydapr.policy.resiliency import Resiliency

    Pipelines = tuple[components.Pipeline | None, components.Pipeline | None]

log = logging.get("dapr.runtime")
processor_log = logging.get("dapr.runtime.processor")

_KINDS = {
    "state": "state store",
    "pubsub": "pubsub",
    "bindings": "binding",
    "secretstores": "secret store",
    "configuration": "configuration store",
    "lock": "lock store",
    "crypto": "crypto provider",
    "conversation": "conversation",
}
"""What the original calls a component of a category when it cannot find its type."""


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
    _refuse_what_guards(config)
    return Loaded(config, found)


def policies(loaded: Loaded) -> "Resiliency | None":
    """What Resiliency resources say, None when there is none; faults in them are told and no reason not to start."""
    found = loaded.resources
    _tell(found, resources.RESILIENCY)
    if not found.resiliencies:
        return None
    from pydapr.policy import reading

    made = reading.load(found.resiliencies)
    made.base_urls = {endpoint.name: endpoint.base_url for endpoint in found.http_endpoints}
    return made


def _refuse_what_guards(config: configuration.Configuration) -> None:
    """Rules that keep somebody out must not be passed over in silence. Raises `Failed`."""
    access = config.access_control
    guards = {
        "accessControl": access is not None and (access.policies or access.default_action != configuration.ALLOW),
    }
    unmet = [name for name, is_given in guards.items() if is_given]
    if unmet:
        raise Failed(
            f"error loading configuration: {', '.join(unmet)} cannot be enforced in this version of pydapr; "
            "daprd does not start, so that nothing is open that should be closed"
        )


def _tell_what_comes_later(config: configuration.Configuration) -> None:
    tracing = config.tracing
    if tracing.zipkin_endpoint or tracing.otel.endpoint_address or tracing.stdout:
        log.warning("tracing has no effect in this version of pydapr")


async def open_components(
    settings: flags.Settings, loaded: Loaded, stack: contextlib.AsyncExitStack
) -> "components.Opened | None":
    """Opens the components, None when there are none. Raises `Failed` for one that cannot be had, unless it says to
    ignore errors."""
    found = loaded.resources
    _tell_what_comes_later(loaded.configuration)
    log.info("Loading components…")
    _tell(found, resources.COMPONENT)
    opened = None
    if found.components or loaded.configuration.http_pipeline or loaded.configuration.app_http_pipeline:
        from pydapr.daprd import components

        opened = components.Opened()
        around = components.Surroundings(settings.app_id, settings.namespace, os.environ)
        for wanted in found.components:
            await _open(wanted, loaded.configuration, around, opened, stack)
    log.info("Waiting for all outstanding components to be processed…")
    log.info("All outstanding components processed")
    log.info("Loading endpoints…")
    _tell(found, resources.HTTP_ENDPOINT)
    for endpoint in found.http_endpoints:
        log.info(f"Found http endpoint: {endpoint.name}")
    log.info("Waiting for all outstanding http endpoints to be processed…")
    log.info("All outstanding http endpoints processed")
    log.info("Loading Declarative Subscriptions…")
    for kind in (resources.SUBSCRIPTION, resources.MCP_SERVER):
        _tell(found, kind)
    _tell(found, resources.WORKFLOW_ACCESS_POLICY)
    _say_later("Subscription", [subscription.name for subscription in found.subscriptions])
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


async def _open(
    wanted: component.Component,
    config: configuration.Configuration,
    around: "components.Surroundings",
    opened: "components.Opened",
    stack: contextlib.AsyncExitStack,
) -> None:
    from pydapr.daprd import components

    version = wanted.version or "v1"
    if wanted.type in config.components_deny or f"{wanted.type}/{version}" in config.components_deny:
        processor_log.warning(f"component {wanted.name} of type {wanted.type} is denied by the Configuration")
        opened.broken.add(wanted.name)
        return
    if not wanted.category:
        raise Failed(f"process component {wanted.name} error: incorrect type {wanted.type}")
    reason = f"couldn't find {_KINDS.get(wanted.category, wanted.category)} {wanted.type}/{version}"
    if wanted.category == "middleware":
        try:
            await components.open_middleware(wanted, around, opened, stack)
        except components.CannotOpen as error:
            reason = f"process component {wanted.name} error: {error}"
        else:
            _count(wanted, opened)
            return
    opened.broken.add(wanted.name)
    failure = f"initialization error occurred for {wanted.log_name}: {reason}"
    processor_log.error(f"Failed to init component {wanted.log_name}: [CREATE_COMPONENT_FAILURE]: {failure}")
    text = (
        f"process component {wanted.name} error: [INIT_COMPONENT_FAILURE]: "
        f"initialization error occurred for {wanted.log_name}: [CREATE_COMPONENT_FAILURE]: {failure}"
    )
    if wanted.ignore_errors:
        processor_log.error(f"Ignoring error processing component: {text}")
        return
    processor_log.warning(f"Error processing component, daprd will exit gracefully: {text}")
    raise Failed(text)


def _count(wanted: component.Component, opened: "components.Opened") -> None:
    log.info(f"Component loaded: {wanted.log_name}")
    opened.listed.append({"name": wanted.name, "type": wanted.type, "version": wanted.version})


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
        opened.listed if opened is not None else [],
        http_endpoints=[endpoint.name for endpoint in loaded.resources.http_endpoints],
    )
