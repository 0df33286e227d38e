"""The building blocks: the only home of behaviour."""
