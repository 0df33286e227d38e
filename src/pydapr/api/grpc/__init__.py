"""The gRPC API (port 50001)."""
