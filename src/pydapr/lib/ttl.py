"""How long something is to live, as metadata say it: the original's reading, for all components.

Used by brokers and bindings.
"""

from collections.abc import Mapping

from pydapr.lib import durations

NAMES = ("ttl", "ttlinseconds")
_MOST = 2**63 - 1


def of(metadata: Mapping[str, str]) -> float | None:
    """The seconds in `ttl` or `ttlInSeconds`, whatever their case; None without. Raises `ValueError`."""
    if not metadata:
        return None
    given = {name.lower(): value for name, value in metadata.items() if value}
    text = next((given[name] for name in NAMES if name in given), None)
    return None if text is None else seconds(text)


def seconds(text: str) -> float:
    """The seconds in a duration, 0 for a negative one, or in a whole number above 0. Raises `ValueError`."""
    try:
        return max(durations.parse(text), 0.0)
    except ValueError:
        pass
    is_number = text.isascii() and text.lstrip("+-").isdecimal() and len(text) < 25
    try:
        number = int(text) if is_number else None
    except ValueError:  # several signs
        number = None
    if number is None or abs(number) > _MOST:
        raise ValueError(f"ttl value must be a valid integer: actual is '{text}'")
    if number <= 0:
        raise ValueError(f"ttl value must be higher than zero: actual is '{number}'")
    return float(number)
