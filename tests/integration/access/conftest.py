"""Apps that speak gRPC, and channels to the gRPC API of sidecars, as for the other gRPC tests."""

from tests.integration.grpc.conftest import channel, grpc_app

__all__ = ["channel", "grpc_app"]
