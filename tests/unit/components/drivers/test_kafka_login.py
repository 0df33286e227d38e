"""How Kafka's brokers learn who we are: what metadata must say, what the library is told, where tokens come from."""

import asyncio
import base64
import contextlib
import json
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from pydapr import components
from pydapr.components.drivers import kafka_login
from pydapr.components.drivers.kafka_login import Login, Options, Refused, Tokens

CERT = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"
OIDC = {"authType": "oidc", "oidcClientID": "me", "oidcClientSecret": "s:&", "oidcTokenEndpoint": "http://t/token"}


def options(metadata: Mapping[str, str]) -> Options:
    return components.read(Options, metadata)


def arguments(**metadata: str) -> Mapping[str, Any]:
    return Login(options(metadata)).arguments()


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({}, "'authType' attribute was missing or empty"),
        ({"authType": "kerberos"}, "invalid value for 'authType' attribute"),
        ({"authType": "awsiam"}, "'awsiam' is not available"),
        ({"authRequired": "perhaps"}, "invalid value for 'authRequired' attribute"),
        ({"authType": "password"}, "missing SASL Username for authType 'password'"),
        ({"authType": "password", "saslUsername": "a"}, "missing SASL Password for authType 'password'"),
        ({"authType": "certificate"}, "missing CA certificate property 'caCert' for authType 'certificate'"),
        ({"authType": "none", "caCert": "x"}, "invalid ca certificate"),
        ({"authType": "mtls", "clientCert": "x"}, "invalid client certificate"),
        ({"authType": "mtls", "clientKey": "x"}, "invalid client key"),
        ({"authType": "mtls", "clientCert": CERT}, "clientKey or clientCert is missing"),
        ({"authType": "mtls", "clientCert": CERT, "clientKey": CERT, "disableTls": "true"}, "TLSDisable is 'true'"),
        ({"authType": "oidc"}, "missing OIDC Token Endpoint for authType 'oidc'"),
        ({**OIDC, "oidcClientSecret": ""}, "missing OIDC Client Secret for authType 'oidc'"),
        ({**OIDC, "oidcExtensions": "[]"}, "improper OIDC Extensions format for authType 'oidc'"),
        ({**OIDC, "authType": "oidc_private_key_jwt"}, "missing OIDC Client Assertion Cert"),
    ],
)
def test_metadata_that_cannot_be_used(metadata: Mapping[str, str], text: str) -> None:
    with pytest.raises(components.Wrong, match=text):
        Login(options(metadata))


@pytest.mark.parametrize(
    ("metadata", "protocol", "mechanism"),
    [
        ({"authType": "none"}, "PLAINTEXT", None),
        ({"authRequired": "false"}, "PLAINTEXT", None),
        ({"authRequired": "true", "saslUsername": "a", "saslPassword": "b"}, "SASL_SSL", "PLAIN"),
        ({"authRequired": "true"}, "SSL", None),
        ({"authType": "Password", "saslUsername": "a", "saslPassword": "b"}, "SASL_SSL", "PLAIN"),
        (
            {
                "authType": "password", "saslUsername": "a", "saslPassword": "b", "disableTls": "true",
                "saslMechanism": "SHA-512",
            },
            "SASL_PLAINTEXT", "SCRAM-SHA-512",
        ),
        ({**OIDC, "disableTls": "true"}, "SASL_PLAINTEXT", "OAUTHBEARER"),
        (OIDC, "SASL_SSL", "OAUTHBEARER"),
        ({"authType": "mtls"}, "SSL", None),
    ],
)  # fmt: skip
def test_what_the_library_is_told(metadata: Mapping[str, str], protocol: str, mechanism: str | None) -> None:
    told = arguments(**metadata)

    assert told["security_protocol"] == protocol
    assert told.get("sasl_mechanism") == mechanism
    assert ("ssl_context" in told) == protocol.endswith("SSL")


def test_any_certificate_is_taken_only_where_that_is_said() -> None:
    assert arguments(authType="mtls")["ssl_context"].verify_mode == ssl.CERT_REQUIRED
    careless = arguments(authType="mtls", skipVerify="true")["ssl_context"]
    assert careless.verify_mode == ssl.CERT_NONE and not careless.check_hostname


class _TokenServer(BaseHTTPRequestHandler):
    asked: list[tuple[str, Mapping[str, Sequence[str]]]] = []  # noqa: RUF012  # one server, one list
    answers: list[tuple[int, Any]] = []  # noqa: RUF012

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        self.asked.append((self.headers.get("authorization", ""), form))
        status, said = self.answers.pop(0)
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    _TokenServer.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _TokenServer)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/token"
    server.shutdown()
    thread.join()
    server.server_close()


@contextlib.contextmanager
def tokens(metadata: Mapping[str, str], *answers: tuple[int, Any]) -> Iterator[Tokens]:
    _TokenServer.answers[:] = answers
    made = Tokens(options(metadata), metadata["authType"], ssl.create_default_context())
    yield made
    made.close()


async def test_token_is_asked_for_once_and_kept(endpoint: str) -> None:
    metadata = {**OIDC, "oidcTokenEndpoint": endpoint, "oidcScopes": "a,b", "oidcExtensions": '{"x": "y"}'}
    with tokens(metadata, (200, {"access_token": "token", "expires_in": 3600})) as made:
        assert set(await asyncio.gather(made.token(), made.token())) == {"token"}
        assert await made.token() == "token"

        assert made.extensions == {"x": "y"}
    [(login, form)] = _TokenServer.asked
    assert base64.b64decode(login.removeprefix("Basic ")) == b"me:s%3A%26"
    assert dict(form) == {"grant_type": ["client_credentials"], "scope": ["a b"]}


async def test_token_that_ends_is_replaced(endpoint: str) -> None:
    metadata = {**OIDC, "oidcTokenEndpoint": endpoint}
    answers = [(200, {"access_token": name, "expires_in": 0.02}) for name in ("one", "two")]
    with tokens(metadata, *answers) as made:
        assert await made.token() == "one"
        await asyncio.sleep(0.05)
        assert await made.token() == "two"


async def test_server_that_wants_the_secret_in_the_body_gets_it_there(endpoint: str) -> None:
    with tokens({**OIDC, "oidcTokenEndpoint": endpoint}, (401, {}), (200, {"access_token": "token"})) as made:
        assert await made.token() == "token"

    assert _TokenServer.asked[1][1]["client_secret"] == ["s:&"] and not _TokenServer.asked[1][0]


@pytest.mark.parametrize(
    ("status", "said", "text"),
    [
        (500, {}, "token endpoint returned 500"),
        (200, {}, "no access_token in response"),
        (200, [], "no access_token in response"),
        (200, {"access_token": ""}, "no access_token in response"),
    ],
)
async def test_no_token(endpoint: str, status: int, said: Any, text: str) -> None:
    with tokens({**OIDC, "oidcTokenEndpoint": endpoint}, (status, said)) as made, pytest.raises(Refused, match=text):
        await made.token()


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


async def test_we_say_who_we_are_by_a_signed_assertion(endpoint: str) -> None:
    key = rsa.generate_private_key(65537, 2048)
    form_ = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form_, serialization.NoEncryption()).decode()
    metadata = {
        "authType": "oidc_private_key_jwt", "oidcClientID": "me", "oidcTokenEndpoint": endpoint, "oidcKid": "k1",
        "oidcClientAssertionCert": CERT, "oidcClientAssertionKey": pem, "oidcResource": "r", "oidcAudience": "a",
    }  # fmt: skip
    with tokens(metadata, (200, {"access_token": "token", "expires_in": 3600})) as made:
        assert await made.token() == "token"

    [(_, form)] = _TokenServer.asked
    assert form["client_assertion_type"] == ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]
    assert [form[name] for name in ("resource", "audience", "client_id")] == [["r"], ["a"], ["me"]]
    head, claims, signature = form["client_assertion"][0].split(".")
    key.public_key().verify(_decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    assert json.loads(_decoded(head)) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    told = json.loads(_decoded(claims))
    assert (told["iss"], told["sub"], told["aud"], told["exp"] - told["iat"]) == ("me", "me", "a", 60)


@pytest.mark.parametrize("kind", ["none", "ec"])
def test_key_that_is_no_rsa_key(kind: str) -> None:
    pem = "no key"
    if kind == "ec":
        key = ec.generate_private_key(ec.SECP256R1())
        form_ = serialization.PrivateFormat.PKCS8
        pem = key.private_bytes(serialization.Encoding.PEM, form_, serialization.NoEncryption()).decode()

    with pytest.raises(Refused, match=r"unable to parse private key|requires RSA private key"):
        kafka_login.assertion(options({"oidcClientAssertionKey": pem}), 0, "id")
