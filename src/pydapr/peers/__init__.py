"""The other Dapr processes, as this one's servers."""
