"""Placement: `dapr-placement`. Tells sidecars which of them host which types of actors, until it is told to stop."""
