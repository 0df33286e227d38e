"""Encryption of values: the original's form, which keys open what, and what is refused."""

import base64

import pytest

from pydapr.security.sealed import Keys, Unreadable

KEY128, KEY192, KEY256 = "00112233445566778899aabbccddeeff", "ab" * 24, "cd" * 32


@pytest.mark.parametrize("key", [KEY128, KEY192, KEY256, KEY256.upper()])
@pytest.mark.parametrize("value", [b"", b"x", bytes(range(256)) * 10])
def test_value_is_read_with_the_key_that_wrote_it(key: str, value: bytes) -> None:
    keys = Keys("store", "k", {"k": key})

    assert keys.decrypt(keys.encrypt(value)) == value


def test_form_is_base64_of_nonce_and_ciphertext_with_the_name_of_the_key() -> None:
    keys = Keys("store", "k||1", {"k||1": KEY128})

    data, _, name = keys.encrypt(b"value").partition(b"||")

    assert name == b"k||1"
    assert len(base64.b64decode(data, validate=True)) == 12 + len(b"value") + 16


def test_same_value_looks_different_each_time() -> None:
    keys = Keys("store", "k", {"k": KEY128})

    assert keys.encrypt(b"same") != keys.encrypt(b"same")


def test_secondary_key_reads_and_never_writes() -> None:
    old = Keys("store", "old", {"old": KEY128})
    both = Keys("store", "new", {"new": KEY256, "old": KEY128})

    assert both.decrypt(old.encrypt(b"value")) == b"value"
    assert both.encrypt(b"value").endswith(b"||new")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"plain", "encryption key name not found on record"),
        (b"plain||", "encryption key name not found on record"),
        (b"AAAA||other", "the key of secret other, which the component lacks"),
        (b"AAAA||k", "message authentication failed"),
        (b"no base64!||k", "message authentication failed"),
        (base64.b64encode(bytes(40)) + b"||k", "message authentication failed"),
        (b"||k", "message authentication failed"),
    ],
)
def test_what_cannot_be_read_says_why(value: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=f"could not decrypt data for state store store: .*{reason}"):
        Keys("store", "k", {"k": KEY128}).decrypt(value)


def test_nothing_stays_nothing() -> None:
    assert Keys("store", "k", {"k": KEY128}).decrypt(b"") == b""


@pytest.mark.parametrize("key", ["", "ab", "zz" * 16, KEY128[:-1], "ab" * 33])
def test_key_that_is_none_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ValueError, match="the key of secret k is no AES key") as raised:
        Keys("store", "k", {"k": key})

    assert not key or key not in str(raised.value)


def test_value_of_the_original_is_read() -> None:
    """Written by daprd v1.18.3."""
    written = base64.b64decode("QUJoaW5PeHdJc2NnZjQ0UUREODZjbDVpNEIvdDl5UC9ocXNRNFkrWHJLUEg3bkk9fHxrMQ==")

    assert Keys("enc", "k1", {"k1": KEY128}).decrypt(written).decode() == "text ü"
