"""Apps that speak gRPC, channels to the gRPC API of sidecars, and sidecars that show who they are."""

from tests.integration.grpc.conftest import channel, grpc_app
from tests.integration.mtls.conftest import mesh, sentry

__all__ = ["channel", "grpc_app", "mesh", "sentry"]
