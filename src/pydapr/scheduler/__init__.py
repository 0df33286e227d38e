"""The scheduler: `dapr-scheduler`. Keeps jobs and reminders, and has sidecars told when one is due."""
