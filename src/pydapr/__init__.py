"""pydapr: the Dapr runtime in Python."""

from pydapr.lib import compiled

__version__ = "0.1.0"
"""The version of this package."""

DAPR_VERSION = "1.18.3"
"""The Dapr release whose behaviour this version follows; what clients are told as runtime version."""

compiled.install()
