"""Personal data is found by its form; nothing stays in clear where finds overlap, and no text takes long."""

import time

import pytest

from pydapr.lib import pii


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("my phone number is +2222222222", "my phone number is <PHONE_NUMBER>"),
        ("(212) 555-1234 ext 12", "<PHONE_NUMBER>"),
        ("my email is test@test.com, thanks", "my email is <EMAIL_ADDRESS>, thanks"),
        ("from 10.8.9.1", "from <IP>"),
        ("from 192.168.10.11", "from <IP>"),
        ("from fe80::1%eth0 to ::1", "from <IP> to <IP>"),
        ("card 4111 1111 1111 1111 or 4111-1111-1111-1111", "card <CREDIT_CARD> or <CREDIT_CARD>"),
        ("ssn 123-45-6789", "ssn <US_SSN>"),
        ("at 12345 or 12345-6789", "at <ZIP_CODE> or <ZIP_CODE>"),
        ("I live at 12 Main Street", "I live at <STREET_ADDRESS>"),
        ("P.O. Box 17 or po box 18", "<PO_BOX> or <PO_BOX>"),
        ("978-3-16-148410-0", "<ISBN>"),
        ("080442957X", "<ISBN>"),
        ("aa:bb:cc:dd:ee:ff", "<MAC_ADDRESS>"),
        ("DE89370400440532013000", "<IBAN>"),
        ("in the year 2024", "in the year <PHONE_NUMBER>"),
    ],
)
def test_personal_data_is_replaced_by_its_kind(text: str, wanted: str) -> None:
    assert pii.scrub(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "well hello there",
        "room 101, 12:30:45",
        "see https://example.com/users/5551234?mail=a@b.example",
        "clone git@github.com:dapr/dapr.git",
        "an @ sign, and a@b",
    ],
)
def test_the_rest_stays_as_it_is(text: str) -> None:
    assert pii.scrub(text) == text


def test_where_finds_overlap_nothing_stays_in_clear() -> None:
    scrubbed = pii.scrub("978-3-16-148410-0 080442957X")
    assert not any(letter.isdigit() for letter in scrubbed)


@pytest.mark.parametrize(
    "piece", ["a", "1", ":", "1 ", "a@", "aaaaaaaa@@", "http://a.b 1234567 ", "git:", "http://a.", "1 a", "a."]
)
def test_a_long_text_takes_time_by_its_length_only(piece: str) -> None:
    def seconds(pieces: int) -> float:
        began = time.process_time()
        pii.scrub(piece * pieces)
        return time.process_time() - began

    assert seconds(40_000) < 40 * max(seconds(4_000), 0.002)
