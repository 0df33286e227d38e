"""Resources and Configuration from disk, and the components that they name. Called by `daprd.runtime`.

The order and the words of the log are the original's: the kinds one after the other, each with the faults
that were found in its documents.
"""

import os

from pydapr import resources
from pydapr.blocks.metadata import AppConnection, Metadata
from pydapr.daprd import flags
from pydapr.lib import durations
from pydapr.lib.record import Record
from pydapr.observe import logging
from pydapr.resources import component, configuration

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
    try:
        config = configuration.load_files(settings.configs, os.environ)
    except configuration.ConfigurationError as error:
        raise Failed(f"error loading configuration: {error}") from None
    try:
        found = resources.load_folder(settings.resources_paths, settings.app_id, settings.namespace)
    except resources.ResourceError as error:
        raise Failed(error.message) from None
    _refuse_what_guards(config)
    return Loaded(config, found)


def _refuse_what_guards(config: configuration.Configuration) -> None:
    """Rules that keep somebody out must not be passed over in silence. Raises `Failed`."""
    access = config.access_control
    guards = {
        "accessControl": access is not None and (access.policies or access.default_action != configuration.ALLOW),
        "api.allowed": config.api_allowed,
        "api.denied": config.api_denied,
        "httpPipeline": config.http_pipeline,
        "appHttpPipeline": config.app_http_pipeline,
    }
    unmet = [name for name, is_given in guards.items() if is_given]
    if unmet:
        raise Failed(
            f"error loading configuration: {', '.join(unmet)} cannot be enforced in this version of pydapr; "
            "daprd does not start, so that nothing is open that should be closed"
        )


def _tell_what_comes_later(config: configuration.Configuration) -> None:
    tracing = config.tracing
    wanted = config.name_resolution
    if tracing.zipkin_endpoint or tracing.otel.endpoint_address or tracing.stdout:
        log.warning("tracing has no effect in this version of pydapr")
    if wanted is not None and wanted.component not in ("", "mdns"):
        log.error(f"name resolution {wanted.component} is not available; the registry and mdns are used")


def open_components(loaded: Loaded) -> None:
    """Opens the components. Raises `Failed` for one that cannot be had, unless it says to ignore errors."""
    found = loaded.resources
    _tell_what_comes_later(loaded.configuration)
    log.info("Loading components…")
    _tell(found, resources.COMPONENT)
    for wanted in found.components:
        _open(wanted, loaded.configuration)
    log.info("Waiting for all outstanding components to be processed…")
    log.info("All outstanding components processed")
    log.info("Loading endpoints…")
    _tell(found, resources.HTTP_ENDPOINT)
    _say_later("HTTPEndpoint", [endpoint.name for endpoint in found.http_endpoints])
    log.info("Waiting for all outstanding http endpoints to be processed…")
    log.info("All outstanding http endpoints processed")
    log.info("Loading Declarative Subscriptions…")
    for kind in (resources.SUBSCRIPTION, resources.RESILIENCY, resources.MCP_SERVER):
        _tell(found, kind)
    _tell(found, resources.WORKFLOW_ACCESS_POLICY)
    _say_later("Subscription", [subscription.name for subscription in found.subscriptions])
    _say_later("Resiliency", [policies.name for policies in found.resiliencies])
    _say_later("MCPServer", [server.name for server in found.mcp_servers])
    if found.workflow_access_policies:
        names = ", ".join(policy.name for policy in found.workflow_access_policies)
        raise Failed(f"WorkflowAccessPolicy {names} cannot be enforced in this version of pydapr; remove it")


def _tell(found: resources.Resources, kind: str) -> None:
    for diagnostic in found.diagnostics.get(kind, ()):
        line = logging.get(diagnostic.scope)
        (line.error if diagnostic.level == resources.ERROR else line.warning)(diagnostic.message)


def _say_later(kind: str, names: list[str]) -> None:
    if names:
        log.warning(f"{kind} {', '.join(names)} has no effect in this version of pydapr")


def _open(wanted: component.Component, config: configuration.Configuration) -> None:
    version = wanted.version or "v1"
    if wanted.type in config.components_deny or f"{wanted.type}/{version}" in config.components_deny:
        processor_log.warning(f"component {wanted.name} of type {wanted.type} is denied by the Configuration")
        return
    if not wanted.category:
        raise Failed(f"process component {wanted.name} error: incorrect type {wanted.type}")
    what = _KINDS.get(wanted.category, wanted.category)
    reason = f"couldn't find {what} {wanted.type}/{version}"
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


def describe(settings: flags.Settings, loaded: Loaded) -> Metadata:
    """The sidecar's metadata."""
    connection = AppConnection(
        settings.app_port, settings.app_protocol, settings.app_channel_address, settings.app_max_concurrency
    )
    if settings.app_health is not None:
        connection.health_path = settings.app_health.path
        connection.health_interval = durations.text(settings.app_health.interval)
        connection.health_timeout = durations.text(settings.app_health.timeout)
        connection.health_threshold = settings.app_health.threshold
    return Metadata(settings.app_id, sorted(loaded.configuration.features), connection)
