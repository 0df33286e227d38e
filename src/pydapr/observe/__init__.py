"""Sight into a running process: logs, metrics, traces."""
