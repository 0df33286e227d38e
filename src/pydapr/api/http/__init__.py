"""The HTTP API (port 3500)."""
