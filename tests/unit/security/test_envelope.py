"""Documents in the scheme `dapr.io/enc/v1`, taken apart and put together in pieces of any size."""

import base64
import json

import pytest

from pydapr.security import ciphers, envelope

KEY, PREFIX = bytes(range(32)), b"prefix7"

ORIGINALS = {
    "AES-GCM": (
        b'dapr.io/enc/v1\n{"k":"base64","kw":1,"wfk":"4r4uvoTeqET1aTr3n1cF3Q3e27hG5ZFjSDXZzlvNOxCNGsUlPQt6GQ==","cph":1,'
        b'"np":"UCFZY+1jWw=="}\nBkSpzr9ty7sqMGuMFl6AMJ/qI+/LgsdZNz71X1WfP/A=\n\xf9`v\xd5\xe6^\xf4\x8d\xb2\x03\x8cU\xfdz!'
        b"\xe0\xa9\xca>\xe7\tu\xff\xee\xffMYQ\xa8\x9f.\x0b\x8a\xfd\x05"
    ),
    "CHACHA20-POLY1305": (
        b'dapr.io/enc/v1\n{"k":"base64","kw":1,"wfk":"VcnSocczxOK1p7nBr8aIIeARtosL6AEp8YWpbwlHbh8trvAH64tfSQ==","cph":2,'
        b'"np":"00SIU8xlKQ=="}\n7X7mYHuYuB5ZeEIJZwMHn6JoQw4c6wVlDYrkh1UkPD8=\n\xd9M\x86ZIv\x03\xcb6B&0\x0f\xf0\xfc\xc8{vp]b'
        b"\x83{m\xe2\x18\xdb\x9d\x08'vBx\x06\\"
    ),
}
"""What the original (v1.18.3) made of "The quick brown fox" with the key 00 01 .. 1f."""


def read(document: bytes, step: int = 1 << 20) -> tuple[envelope.Header, bytes]:
    """The header of a document that comes in pieces, and what follows it."""
    reader = envelope.HeaderReader()
    for start in range(0, len(document), step):
        if reader.feed(document[start : start + step]):
            header = reader.header()
            return header, reader.rest + document[start + step :]
    return reader.header(), reader.rest


def run(segments: envelope.Sealer | envelope.Opener, data: bytes, step: int) -> list[bytes]:
    done = []
    for start in range(0, len(data), step):
        done += segments.feed(data[start : start + step])
    return done + segments.finish()


def header_of(cipher: str = envelope.AES_GCM, name: str = "k") -> envelope.Header:
    return envelope.Header(name, "A256KW", b"wrapped", cipher, PREFIX)


@pytest.mark.parametrize("cipher", ORIGINALS)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_documents_of_the_original_are_read(cipher: str, step: int) -> None:
    from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

    header, rest = read(ORIGINALS[cipher], step)
    file_key = aes_key_unwrap(KEY, header.wrapped)

    envelope.verify(header, file_key)
    assert (header.key_name, header.algorithm, header.cipher) == ("base64", "A256KW", cipher)
    assert b"".join(run(envelope.Opener(file_key, header, ciphers.make), rest, step)) == b"The quick brown fox"


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 131072, 200_000])
@pytest.mark.parametrize("step", [4096, 65536, 1 << 20])
def test_segments_do_not_depend_on_how_their_bytes_come(size: int, step: int) -> None:
    data = bytes(number * 31 % 256 for number in range(size))

    sealed = run(envelope.Sealer(KEY, header_of(), ciphers.make), data, step)

    assert [len(one) for one in sealed] == [65552] * (size // 65536) + ([size % 65536 + 16] if size % 65536 else [])
    opened = run(envelope.Opener(KEY, header_of(), ciphers.make), b"".join(sealed), step)
    assert b"".join(opened) == data


def test_a_header_is_what_was_signed() -> None:
    lines = envelope.write_header(header_of(name='<"ü">'), KEY)

    scheme, manifest, mac, rest = lines.split(b"\n")
    assert (scheme, rest, len(base64.b64decode(mac))) == (b"dapr.io/enc/v1", b"", 32)
    assert manifest == '{"k":"\\u003c\\"ü\\"\\u003e","kw":1,"wfk":"d3JhcHBlZA==","cph":1,"np":"cHJlZml4Nw=="}'.encode()
    header, _ = read(lines + b"data")
    envelope.verify(header, KEY)
    with pytest.raises(envelope.Invalid, match="failed to validate the document's signature"):
        envelope.verify(header, bytes(32))
    with pytest.raises(envelope.Invalid, match="failed to decode header's signature"):
        envelope.verify(header.replace(mac=b"?"), KEY)


def test_a_name_that_makes_the_header_too_long_is_refused() -> None:
    with pytest.raises(envelope.Invalid, match="header is too long"):
        envelope.write_header(header_of(name="k" * 65536), KEY)


def test_a_header_that_never_ends_is_given_up() -> None:
    reader = envelope.HeaderReader()

    assert not reader.feed(b"dapr.io/enc/v1\n" + b"x" * 65000)
    assert reader.feed(b"x" * 1000)
    with pytest.raises(envelope.Invalid, match="manifest not found"):
        reader.header()


@pytest.mark.parametrize(
    "change",
    [
        {"kw": 0}, {"kw": 6}, {"kw": "1"}, {"kw": None}, {"kw": True}, {"cph": 3}, {"cph": 1.0}, {"wfk": ""},
        {"wfk": "?"}, {"np": "AAAA"}, {"np": 7}, {"k": 7}, {"wfk": None},
    ],
)  # fmt: skip
def test_a_manifest_with_a_fault_is_refused_without_saying_which(change: dict[str, object]) -> None:
    good = {"k": "a", "kw": 1, "wfk": "AAAA", "cph": 1, "np": "cHJlZml4Nw=="}
    lines = b"dapr.io/enc/v1\n" + json.dumps({**good, **change}).encode() + b"\nAAAA\n"

    with pytest.raises(envelope.Invalid, match="invalid header: invalid manifest"):
        read(lines)


def test_names_are_taken_in_any_case_with_their_aliases() -> None:
    assert [envelope.algorithm(name) for name in ("aes", "RSA", "a256kw")] == ["A256KW", "RSA-OAEP-256", "A256KW"]
    assert [envelope.cipher(name) for name in ("", "aes-GCM", "chacha20-poly1305")] == [
        "AES-GCM", "AES-GCM", "CHACHA20-POLY1305",
    ]  # fmt: skip
    with pytest.raises(envelope.Invalid, match="algorithm A256GCM is not supported"):
        envelope.algorithm("A256GCM")
