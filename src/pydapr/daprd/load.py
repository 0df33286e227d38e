"""Resources and Configuration from disk, and the components that they name. Called by `daprd.runtime`."""

from dataclasses import dataclass

from pydapr.blocks.metadata import AppConnection, Metadata
from pydapr.daprd import flags
from pydapr.lib import durations

FEATURES = ["HotReload", "WorkflowsRemoteActivityReminder"]


class Failed(Exception):
    """A resource stands in the way of the start."""


@dataclass(slots=True)
class Loaded:
    """What was found."""


def load(settings: flags.Settings) -> Loaded:
    return Loaded()


def open_components(loaded: Loaded) -> None:
    pass


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
    return Metadata(settings.app_id, [], connection)
