"""Which words mean yes, in metadata, environment variables and header fields (kit, `utils.IsTruthy`)."""

_TRUE = frozenset({"y", "yes", "true", "t", "on", "1", b"y", b"yes", b"true", b"t", b"on", b"1"})


def is_true(text: str | bytes) -> bool:
    """Whether `text` is one of them, in whatever case and with whatever space around it."""
    return text.strip().lower() in _TRUE
