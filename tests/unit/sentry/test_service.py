"""Requests for certificates: what they have to be, and with which status others are answered."""

import asyncio
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from tests.unit.security import issuing

from pydapr.errors import Code, RpcError
from pydapr.proto.dapr.proto.sentry.v1 import sentry_pb2
from pydapr.security import certificates, pem, token
from pydapr.sentry import authority, metrics, service, tokens
from pydapr.sentry.validators.insecure import Insecure

Request = sentry_pb2.SignCertificateRequest


def _der() -> bytes:
    return issuing.signing().public_bytes(serialization.Encoding.DER)


PUBLIC_KEY = 53
"""How much of a request there is up to the end of its public key."""

CSR = pem.encode("CERTIFICATE REQUEST", _der())


def _request(**fields: Any) -> bytes:
    given: dict[str, Any] = {"id": "myapp", "namespace": "default", "certificate_signing_request": CSR, **fields}
    return Request(**given).SerializeToString()


def _service(
    default: int = token.INSECURE, issuer: tokens.Tokens | None = None
) -> tuple[service.Service, metrics.Counts]:
    counts = metrics.Counts()
    signer = authority.Authority(issuing.made(), 3600.0, 60.0, issuer)
    place = service.Place("default", "cluster.local")
    return service.Service(signer, {token.INSECURE: Insecure()}, default, place, counts), counts


async def _answer(data: bytes) -> sentry_pb2.SignCertificateResponse:
    return sentry_pb2.SignCertificateResponse.FromString(await _service()[0].sign(data))


def _leaf(answer: sentry_pb2.SignCertificateResponse) -> x509.Certificate:
    return certificates.read_chain(answer.workload_certificate)[0]


async def test_who_asks_in_order_is_answered() -> None:
    answer = await _answer(_request())
    leaf = _leaf(answer)
    assert str(certificates.spiffe_id(leaf)) == "spiffe://public/ns/default/myapp"
    assert answer.valid_until.ToDatetime() == leaf.not_valid_after_utc.replace(tzinfo=None)
    assert not answer.HasField("jwt") and not answer.per_audience_jwts
    assert certificates.read_all(answer.trust_chain_certificates[0])


async def test_who_wants_many_tokens_holds_up_nobody() -> None:
    key, _ = tokens.generate(None)
    issuer = tokens.Tokens(key, tokens.Rules("RS256", None, None, 60.0, 5.0))
    wanted = [f"for-{number}" for number in range(50)]
    signing = asyncio.create_task(_service(issuer=issuer)[0].sign(_request(jwt_audiences=wanted)))

    turns = 0
    while not signing.done():
        await asyncio.sleep(0)
        turns += 1

    answer = sentry_pb2.SignCertificateResponse.FromString(await signing)
    assert set(answer.per_audience_jwts) == {"public", *wanted}
    assert turns >= len(wanted)


async def test_a_trust_domain_is_given_to_who_names_it() -> None:
    assert str(certificates.spiffe_id(_leaf(await _answer(_request(trust_domain="td"))))).startswith("spiffe://td/")


async def test_the_older_label_of_a_request_is_taken() -> None:
    assert _leaf(await _answer(_request(certificate_signing_request=pem.encode("CERTIFICATE", _der()))))


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"id": "dapr-injector"}, ["dapr-sidecar-injector.default.svc"]),
        ({"id": "dapr-operator"}, ["dapr-webhook.default.svc"]),
        (
            {"id": "dapr-scheduler"},
            [f"dapr-scheduler-server-{n}.dapr-scheduler-server.default.svc.cluster.local" for n in range(3)],
        ),
        ({"id": "dapr-placement"}, []),
        ({"id": "dapr-operator", "namespace": "other"}, []),
    ],
)
async def test_services_of_the_control_plane_get_names_of_hosts(fields: dict[str, str], names: list[str]) -> None:
    leaf = _leaf(await _answer(_request(**fields)))
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.DNSName) == names


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ({"id": ""}, Code.PERMISSION_DENIED, "invalid request: parameter app-id cannot be empty"),
        ({"id": "a.b"}, Code.PERMISSION_DENIED, "invalid request: parameter app-id cannot contain dots"),
        ({"id": "a" * 65}, Code.PERMISSION_DENIED, "invalid request: app ID must be 64 characters or less"),
        ({"namespace": ""}, Code.PERMISSION_DENIED, "invalid request: namespace is required"),
        ({"certificate_signing_request": b""}, Code.PERMISSION_DENIED, "invalid request: CSR is required"),
        (
            {"id": "", "namespace": ""},
            Code.PERMISSION_DENIED,
            "invalid request: parameter app-id cannot be empty\nnamespace is required",
        ),
        (
            {"trust_domain": "Big"},
            Code.PERMISSION_DENIED,
            "trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores",
        ),
        ({"id": "a/b"}, Code.INTERNAL, "failed to sign certificate"),
        ({"namespace": "a b"}, Code.INTERNAL, "failed to sign certificate"),
        ({"certificate_signing_request": b"x"}, Code.INVALID_ARGUMENT, "invalid certificate signing request"),
        (
            {"certificate_signing_request": pem.encode("NEW CERTIFICATE REQUEST", b"x")},
            Code.INVALID_ARGUMENT,
            "invalid certificate signing request",
        ),
        (
            {"certificate_signing_request": pem.encode("CERTIFICATE REQUEST", b"x")},
            Code.INVALID_ARGUMENT,
            "failed to parse certificate signing request: ",
        ),
        ({"token_validator": "JWKS"}, Code.INVALID_ARGUMENT, "the requested validator is not enabled"),
        ({"token_validator": -1}, Code.INVALID_ARGUMENT, "the requested validator is not enabled"),
    ],
)
async def test_what_is_refused(fields: dict[str, object], code: Code, text: str) -> None:
    answering, counts = _service()
    with pytest.raises(RpcError) as refused:
        await answering.sign(_request(**fields))
    assert (refused.value.code, refused.value.message[: len(text)]) == (code, text)
    assert (counts.received.value, counts.signed.value, counts.failed.value) == (1, 0, 1)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256K1()),
        ec.generate_private_key(ec.BrainpoolP256R1()),
        dsa.generate_private_key(1024),
    ],
    ids=["secp256k1", "brainpool", "dsa"],
)
async def test_a_key_that_peers_cannot_use_is_refused(key: ec.EllipticCurvePrivateKey | dsa.DSAPrivateKey) -> None:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    with pytest.raises(RpcError, match="failed to parse certificate signing request") as refused:
        await _answer(_request(certificate_signing_request=request.public_bytes(serialization.Encoding.PEM)))
    assert refused.value.code == Code.INVALID_ARGUMENT


async def test_damaged_requests_are_refused_whatever_is_damaged() -> None:
    """Each byte of a request in turn, and with it versions, kinds of keys and structures that there are not."""
    whole = _der()
    for place in range(len(whole)):
        for value in (0, 1, 0x12, 0x30, 0x80, 0xFF):
            broken = bytearray(whole)
            broken[place] = value
            if broken == whole:
                continue
            try:
                await _answer(_request(certificate_signing_request=pem.encode("CERTIFICATE REQUEST", bytes(broken))))
            except RpcError as refused:
                assert refused.code == Code.INVALID_ARGUMENT
            else:  # nothing of it counts, such as how many bits of its last byte a signature does without
                assert broken[:PUBLIC_KEY] == whole[:PUBLIC_KEY]


async def test_who_wants_too_many_tokens_gets_none() -> None:
    with pytest.raises(RpcError, match="more than 1000 audiences") as refused:
        await _answer(_request(jwt_audiences=["a"] * 1001))
    assert refused.value.code == Code.INVALID_ARGUMENT


async def test_a_request_that_its_key_has_not_signed_is_refused() -> None:
    broken = bytearray(_der())
    broken[-1] ^= 1
    with pytest.raises(RpcError, match="invalid signature") as refused:
        await _answer(_request(certificate_signing_request=pem.encode("CERTIFICATE REQUEST", bytes(broken))))
    assert refused.value.code == Code.INVALID_ARGUMENT


async def test_without_a_default_a_validator_has_to_be_named() -> None:
    answering, _ = _service(token.UNKNOWN)
    with pytest.raises(RpcError, match="a validator name must be specified in this environment"):
        await answering.sign(_request())
    assert await answering.sign(_request(token_validator="INSECURE"))


async def test_what_is_no_request_is_not_counted() -> None:
    answering, counts = _service()
    with pytest.raises(RpcError, match="error unmarshalling request"):
        await answering.sign(b"\xff")
    assert counts.received.value == 0
