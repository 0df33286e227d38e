"""Clients of outside systems that several kinds of components share."""
