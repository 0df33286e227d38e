"""Encryption and decryption of documents over HTTP."""

import json
from collections.abc import Iterator

import pytest
from tests.integration.crypto import keys
from tests.integration.harness import Sidecar, World

ENCRYPT, DECRYPT = "/v1.0-alpha1/crypto/%s/encrypt", "/v1.0-alpha1/crypto/%s/decrypt"
SEGMENT = 64 * 1024
FAILED = "failed to perform operation: "
NOT_WRAPPED = FAILED + "failed to wrap the file key: "


@pytest.fixture(scope="module")
def running(shared_world: World) -> Sidecar:
    keys.write(shared_world)
    return keys.sidecar(shared_world)


@pytest.fixture
def sidecar(running: Sidecar) -> Iterator[Sidecar]:
    yield running
    running.disconnect()


def encrypted(sidecar: Sidecar, data: bytes, key: str = "rsa.pem", algorithm: str = "RSA", *more: str) -> bytes:
    provider = "files" if more[:1] != ("set",) else "set"
    headers = (f"dapr-key-name: {key}", f"dapr-key-wrap-algorithm: {algorithm}", *(one for one in more if one != "set"))
    reply = sidecar.call("PUT", ENCRYPT % provider, *headers, body=data)
    assert (reply.status, reply.get("content-type")) == (200, "application/octet-stream"), reply.body
    return reply.body


def decrypted(sidecar: Sidecar, document: bytes, provider: str = "files", *headers: str) -> bytes:
    reply = sidecar.call("PUT", DECRYPT % provider, *headers, body=document)
    assert (reply.status, reply.get("content-type")) == (200, "application/octet-stream"), reply.body
    return reply.body


def error(sidecar: Sidecar, target: str, *headers: str, body: bytes = b"x") -> tuple[int, str, str]:
    reply = sidecar.call("PUT", target, *headers, body=body)
    told = json.loads(reply.body)
    return reply.status, told["errorCode"], told["message"]


@pytest.mark.parametrize("size", [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT, 1_000_000])
@pytest.mark.parametrize("cipher", ["", "aes-gcm", "chacha20-poly1305"])
def test_a_document_comes_back(sidecar: Sidecar, size: int, cipher: str) -> None:
    data = bytes(index * 7 % 251 for index in range(size))

    document = encrypted(
        sidecar, data, "deep/raw", "aes", *([f"dapr-data-encryption-cipher: {cipher}"] if cipher else [])
    )

    header = document.split(b"\n", 3)
    manifest = json.loads(header[1])
    assert header[0] == b"dapr.io/enc/v1"
    assert list(manifest) == ["k", "kw", "wfk", "cph", "np"]
    assert (manifest["k"], manifest["kw"], manifest["cph"]) == ("deep/raw", 1, 2 if "20" in cipher else 1)
    assert len(header[3]) == size + 16 * -(-size // SEGMENT)
    assert decrypted(sidecar, document) == data


@pytest.mark.parametrize(
    ("key", "algorithm", "number"),
    [
        ("rsa.pem", "RSA", 5),
        ("public.pem", "rsa-oaep-256", 5),
        ("deep/raw", "A256KW", 1),
        ("base64", "AES", 1),
        ("secret.json", "AES", 1),
        ("/deep//raw", "AES", 1),
    ],
)
def test_keys_of_all_forms_wrap(sidecar: Sidecar, key: str, algorithm: str, number: int) -> None:
    document = encrypted(sidecar, b"data", key, algorithm)

    assert json.loads(document.split(b"\n")[1])["kw"] == number
    assert decrypted(sidecar, document, "files", f"dapr-key-name: {'rsa.pem' if number == 5 else key}") == b"data"


def test_a_set_has_the_same_keys(sidecar: Sidecar) -> None:
    for name, file, algorithm in (("secret", "base64", "AES"), ("rsa", "rsa.pem", "RSA")):
        document = encrypted(sidecar, b"data", name, algorithm, "set")

        assert decrypted(sidecar, document, "set") == b"data"
        assert decrypted(sidecar, document, "files", f"dapr-key-name: {file}") == b"data"


def test_the_key_in_a_document_can_have_another_name_or_none(sidecar: Sidecar) -> None:
    named = encrypted(sidecar, b"data", "public.pem", "RSA", "dapr-decryption-key-name: rsa.pem")
    nameless = encrypted(sidecar, b"data", "public.pem", "RSA", "dapr-omit-decryption-key-name: true")

    assert json.loads(named.split(b"\n")[1])["k"] == "rsa.pem"
    assert decrypted(sidecar, named) == b"data"
    assert "k" not in json.loads(nameless.split(b"\n")[1])
    assert decrypted(sidecar, nameless, "files", "dapr-key-name: rsa.pem") == b"data"
    missing = FAILED + "document's manifest does not contain a key name, and no key name was provided"
    assert error(sidecar, DECRYPT % "files", body=nameless) == (500, "ERR_CRYPTO", missing)


def test_a_name_is_escaped_in_the_document_as_the_original_does(sidecar: Sidecar) -> None:
    document = encrypted(sidecar, b"data", "base64", "AES", "dapr-decryption-key-name: a<b>&c")

    assert b'"k":"a\\u003cb\\u003e\\u0026c"' in document
    assert decrypted(sidecar, document, "files", "dapr-key-name: base64") == b"data"


@pytest.mark.parametrize(
    ("provider", "headers", "status", "code", "message"),
    [
        ("none", {}, 400, "ERR_CRYPTO_PROVIDER_NOT_FOUND", "crypto provider none not found"),
        (
            "files",
            {"dapr-key-wrap-algorithm": "RSA"},
            400,
            "ERR_BAD_REQUEST",
            "invalid request: missing header 'dapr-key-name'",
        ),
        (
            "files",
            {"dapr-key-name": "x"},
            400,
            "ERR_BAD_REQUEST",
            "invalid request: missing header 'dapr-key-wrap-algorithm'",
        ),
        (
            "files",
            ("rsa.pem", "rot13"),
            500,
            "ERR_CRYPTO",
            FAILED + "option Algorithm is not valid: algorithm ROT13 is not supported",
        ),
        (
            "files",
            {"dapr-key-name": "x", "dapr-key-wrap-algorithm": "RSA", "dapr-data-encryption-cipher": "caesar"},
            500,
            "ERR_CRYPTO",
            FAILED + "option Cipher is not valid: cipher CAESAR is not supported",
        ),
        ("files", ("rsa.pem", "AES"), 500, "ERR_CRYPTO", NOT_WRAPPED + "failed to encrypt data: key type mismatch"),
        ("files", ("base64", "RSA"), 500, "ERR_CRYPTO", NOT_WRAPPED + "failed to encrypt data: key type mismatch"),
        ("files", ("ec.pem", "RSA"), 500, "ERR_CRYPTO", NOT_WRAPPED + "failed to encrypt data: key type mismatch"),
        ("files", ("short", "AES"), 500, "ERR_CRYPTO", NOT_WRAPPED + "failed to encrypt data: key type mismatch"),
        (
            "files",
            ("short", "A128CBC-NOPAD"),
            500,
            "ERR_CRYPTO",
            NOT_WRAPPED + "failed to encrypt data: unsupported algorithm",
        ),
        ("files", ("sign.json", "AES"), 500, "ERR_CRYPTO", NOT_WRAPPED + "key cannot perform the 'wrapKey' operation"),
        (
            "files",
            ("unwraps.json", "AES"),
            500,
            "ERR_CRYPTO",
            NOT_WRAPPED + "key cannot perform the 'wrapKey' operation",
        ),
        ("files", ("gcm.json", "AES"), 500, "ERR_CRYPTO", NOT_WRAPPED + "key cannot be used with algorithm 'A256KW'"),
        (
            "files",
            ("../x", "AES"),
            500,
            "ERR_CRYPTO",
            NOT_WRAPPED + "failed to retrieve the key encryption key: invalid key path: cannot contain '..'",
        ),
        (
            "set",
            ("x", "AES"),
            500,
            "ERR_CRYPTO",
            NOT_WRAPPED + "failed to retrieve the key encryption key: key not found",
        ),
    ],
)
def test_what_cannot_be_encrypted_is_answered_as_the_original_does(
    sidecar: Sidecar, provider: str, headers: dict[str, str] | tuple[str, str], status: int, code: str, message: str
) -> None:
    if isinstance(headers, tuple):
        headers = dict(zip(("dapr-key-name", "dapr-key-wrap-algorithm"), headers, strict=True))
    fields = [f"{name}: {value}" for name, value in headers.items()]

    assert error(sidecar, ENCRYPT % provider, *fields) == (status, code, message)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("gone", "failed to load key 'gone': open "),
        ("bad.pem", "failed to parse key"),
        ("bad.json", "failed to parse key"),
    ],
)
def test_a_file_that_is_no_key_is_named_or_not_shown(sidecar: Sidecar, key: str, reason: str) -> None:
    status, code, message = error(sidecar, ENCRYPT % "files", f"dapr-key-name: {key}", "dapr-key-wrap-algorithm: AES")

    assert (status, code) == (500, "ERR_CRYPTO")
    assert message.startswith(f"{NOT_WRAPPED}failed to retrieve the key encryption key: {reason}")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "invalid header: scheme name not found"),
        (b"dapr.io/enc/v1", "invalid header: scheme name not found"),
        (b"\nx\ny\n", "invalid header: invalid format"),
        (b"dapr.io/enc/v2\n", "invalid header: unsupported scheme"),
        (b"dapr.io/enc/v1\n", "invalid header: manifest not found"),
        (b"dapr.io/enc/v1\n\n", "invalid header: invalid format"),
        (b"dapr.io/enc/v1\n{}\n", "invalid header: message authentication code not found"),
        (b"dapr.io/enc/v1\n{}\nx\n", "invalid header: invalid manifest"),
        (b"dapr.io/enc/v1\n[]\nx\n", "invalid header: invalid manifest"),
        (
            b'dapr.io/enc/v1\n{"kw":true,"wfk":"AA==","cph":1,"np":"AAAAAAAAAA=="}\nx\n',
            "invalid header: invalid manifest",
        ),
        (b"x" * 100_000, "invalid header: scheme name not found"),
    ],
)
def test_what_is_no_document_is_told_as_the_original_does(sidecar: Sidecar, document: bytes, reason: str) -> None:
    assert error(sidecar, DECRYPT % "files", body=document) == (500, "ERR_CRYPTO", FAILED + reason)


def test_a_document_that_was_changed_is_refused(sidecar: Sidecar) -> None:
    document = encrypted(sidecar, b"x" * (SEGMENT * 2 + 5), "base64", "AES")
    start = len(document) - SEGMENT * 2 - 5 - 48
    signature = (500, "ERR_CRYPTO", FAILED + "failed to validate the document's signature")
    broken = "error processing segment %d: failed to decrypt segment"

    for name in ("other", "rsa.pem", "gone"):
        assert error(sidecar, DECRYPT % "files", f"dapr-key-name: {name}", body=document) == signature
    assert error(sidecar, DECRYPT % "files", body=document.replace(b'"cph":1', b'"cph":2')) == signature
    second = start + SEGMENT + 16
    changed = document[: second + 7] + bytes([document[second + 7] ^ 1]) + document[second + 8 :]
    assert error(sidecar, DECRYPT % "files", body=changed) == (500, "ERROR", broken % 1)
    cut_between_segments = document[: second + SEGMENT + 16]
    assert error(sidecar, DECRYPT % "files", body=cut_between_segments) == (500, "ERROR", broken % 1)
    assert error(sidecar, DECRYPT % "files", body=document[:-1]) == (500, "ERROR", broken % 2)
    swapped = document[:start] + document[second : second + SEGMENT + 16] + document[start:second]
    assert error(sidecar, DECRYPT % "files", body=swapped) == (500, "ERROR", broken % 0)


def test_a_body_over_the_limit_is_refused(world: World) -> None:
    keys.write(world)
    sidecar = keys.sidecar(world, "--max-body-size", "64Ki")

    headers = ("dapr-key-name: base64", "dapr-key-wrap-algorithm: AES")
    assert sidecar.call("PUT", ENCRYPT % "files", *headers, body=b"x" * 65536).status == 200
    told = error(sidecar, ENCRYPT % "files", *headers, body=b"x" * 65538)
    assert told == (500, "ERROR", "stream too large")


def test_without_any_provider(world: World) -> None:
    sidecar = world.sidecar("bare")

    refused = (500, "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED", "crypto providers not configured")
    assert error(sidecar, ENCRYPT % "x") == refused
    assert error(sidecar, DECRYPT % "x") == refused


@pytest.mark.parametrize("name", ["getkey", "encrypt", "decrypt", "wrapkey", "unwrapkey", "sign", "verify"])
def test_the_subtle_api_is_off_as_in_releases_of_the_original(sidecar: Sidecar, name: str) -> None:
    reply = sidecar.call("POST", f"/v1.0-alpha1/subtlecrypto/files/{name}", body=b"{}")

    told = {"errorCode": "ERR_API_UNIMPLEMENTED", "message": "this API is currently not implemented"}
    assert (reply.status, json.loads(reply.body)) == (501, told)


def test_operations_are_counted(world: World) -> None:
    keys.write(world)
    sidecar = keys.sidecar(world)
    document = encrypted(sidecar, b"data", "base64", "AES")
    decrypted(sidecar, document)
    error(sidecar, ENCRYPT % "files", "dapr-key-name: gone", "dapr-key-wrap-algorithm: AES")

    told = sidecar.call("GET", "/metrics", port=sidecar.metrics).body.decode()
    labels = f'{{app_id="{sidecar.app_id}",component="files",namespace="",operation="crypto_op",success="%s"}} %d'
    assert "dapr_component_crypto_count" + labels % ("true", 2) in told
    assert "dapr_component_crypto_count" + labels % ("false", 1) in told
