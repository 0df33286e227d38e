"""How long something is to live, in the words of metadata."""

import pytest

from pydapr.lib import ttl


@pytest.mark.parametrize(
    ("metadata", "wanted"),
    [
        ({}, None), ({"ttlInSeconds": "5"}, 5.0), ({"ttl": "1m"}, 60.0), ({"TTLINSECONDS": "100ms"}, 0.1),
        ({"ttl": "-1s"}, 0.0), ({"ttl": "0"}, 0.0), ({"ttl": ""}, None), ({"other": "1"}, None),
        ({"ttlInSeconds": "1", "TTL": "2"}, 2.0), ({"ttl": "", "ttlInSeconds": "3"}, 3.0), ({"ttl": "+7"}, 7.0),
        ({"ttl": str(2**63 - 1)}, float(2**63)),
    ],
)  # fmt: skip
def test_seconds(metadata: dict[str, str], wanted: float | None) -> None:
    assert ttl.of(metadata) == wanted


@pytest.mark.parametrize("text", ["x", "1.5", "1_000", " 5 ", "+-5", "٣", str(2**63), "9" * 400])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="ttl value must be a valid integer: actual is"):
        ttl.seconds(text)


@pytest.mark.parametrize("text", ["-5", "-007"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="ttl value must be higher than zero"):
        ttl.seconds(text)
