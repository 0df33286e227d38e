"""What can be exchanged: one folder per kind, its contract in `__init__.py`, one file per component."""
