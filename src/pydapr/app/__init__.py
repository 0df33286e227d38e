"""The one way to the user's app."""
