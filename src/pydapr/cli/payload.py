"""What `dapr invoke` and `dapr publish` send: text of the command line, or a file."""

from pathlib import Path

from pydapr.cli import grammar, status


def read(values: grammar.Values, command: str) -> bytes | None:
    """What `--data` or `--data-file` of `command` say; None when that cannot be had, which the user is told."""
    data, file = values.text("data"), values.text("data-file")
    if data and file:
        status.failure(f"Only one of --data and --data-file allowed in the same {command} command")
        return None
    if not file:
        return data.encode(errors="surrogateescape")
    try:
        return Path(file).read_bytes()
    except OSError as wrong:
        status.failure(f"Error reading payload from '{file}'. Error: {wrong.strerror}")
        return None
