"""Kubernetes quantities: vectors taken from k8s.io/apimachinery's resource.ParseQuantity and AsInt64."""

import pytest

from pydapr.lib import quantity

FORMAT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4Mi", 4 << 20),
        ("4Ki", 4 << 10),
        ("1G", 1_000_000_000),
        ("500k", 500_000),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("-1", -1),
        ("007", 7),
        ("5.", 5),
        ("1.5k", 1500),
        ("0", 0),
        ("0.0", 0),
        ("16Gi", 16 << 30),
    ],
)
def test_a_quantity_becomes_bytes(text: str, expected: int) -> None:
    assert quantity.to_bytes(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", FORMAT),
        ("abc", FORMAT),
        ("1 Mi", FORMAT),
        ("1Kii", "unable to parse quantity's suffix"),
        ("1.5", "cannot get bytes from resource quantity value '{{15 -1} {<nil>}  DecimalSI}'"),
        ("100m", "cannot get bytes from resource quantity value '{{100 -3} {<nil>} 100m DecimalSI}'"),
        ("10E", "cannot get bytes from resource quantity value '{{10 18} {<nil>} 10E DecimalSI}'"),
    ],
)
def test_what_is_no_whole_number_of_bytes_is_refused_in_the_originals_words(text: str, words: str) -> None:
    with pytest.raises(ValueError) as refusal:
        quantity.to_bytes(text)
    assert str(refusal.value) == words


@pytest.mark.parametrize("text", ["1.5Ki", "1.0Mi", "9Ei", "1Pi", "12345678901234567890"])
def test_binary_fractions_and_huge_numbers_are_no_bytes_even_when_whole(text: str) -> None:
    with pytest.raises(ValueError, match="cannot get bytes from resource quantity value"):
        quantity.to_bytes(text)
