"""Asking for certificates and tokens, and being refused; the metrics of both."""

import datetime
import json
import os
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from joserfc import jwk, jwt
from tests.integration import harness
from tests.integration.sentry.authority import CONFIGURATION, Authority
from tests.integration.sentry.conftest import Start

from pydapr.security import certificates, svid

KEY = jwk.OKPKey.generate_key("Ed25519", {"kid": "one"}, private=True)


@pytest.fixture(scope="module")
def openid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    """A sentry with an OpenID server in clear text, which anybody may call by any name."""
    folder = tmp_path_factory.mktemp("openid")
    sentry = Authority(folder, "--jwt-enabled", "--oidc-enabled", "--oidc-server-tls-enabled=false").await_ready()
    yield sentry
    sentry.kill()


async def test_a_certificate_for_an_app_and_what_is_counted(ready: Start) -> None:
    sentry = ready()
    assert "dapr_sentry_cert_sign_request_received_total" not in sentry.metrics()
    identity = (await sentry.source("myapp")).identity
    assert str(identity.id) == "spiffe://public/ns/default/myapp"
    assert 0.9 < (identity.not_after - time.time()) / 86400 <= 1
    with pytest.raises(svid.Unavailable, match="code = PermissionDenied desc = invalid request: parameter app-id"):
        await sentry.asker("my.app")(b"")
    counts = sentry.metrics()
    assert counts["dapr_sentry_cert_sign_request_received_total"] == 2
    assert counts["dapr_sentry_cert_sign_success_total"] == 1
    assert counts['dapr_sentry_cert_sign_failure_total{reason="sign"}'] == 1


async def test_lifetimes_and_trust_domain_are_what_was_asked_for(ready: Start) -> None:
    sentry = ready(
        "--trust-domain=integration.test",
        configuration=CONFIGURATION + "    workloadCertTTL: 1h\n    allowedClockSkew: 1m\n",
        environment={"NAMESPACE": "default"},
    )
    source = svid.Source(sentry.asker("dapr-placement", trust_domain="integration.test"), sentry.trusted())
    await source.open()
    identity = source.identity
    assert str(identity.id) == "spiffe://integration.test/ns/default/dapr-placement"
    assert identity.not_after - identity.not_before == 3660


async def test_a_sentry_that_is_another_is_not_asked(ready: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pydapr.security.request.PATIENCE_SECONDS", 0.2)
    sentry = ready()
    with pytest.raises(svid.Unavailable, match=r"error establishing connection to sentry: .*unexpected SPIFFE ID"):
        await sentry.asker(trust_domain="elsewhere")(b"")
    other = ready(folder=sentry.credentials.parent / "other")
    asker = sentry.asker()
    asker._address = other.address
    with pytest.raises(svid.Unavailable, match=r"error establishing connection to sentry: .*certificate"):
        await asker(b"")


async def test_tokens_come_with_certificates_and_their_keys_are_served(ready: Start) -> None:
    flags = ("--jwt-enabled", "--jwt-ttl=1h", "--oidc-enabled", "--oidc-server-tls-enabled=false")
    sentry = ready(*flags, "--jwt-issuer=https://issuer.example")
    source = svid.Source(sentry.asker("myapp"), sentry.trusted())
    await source.open()
    identity = source.identity
    status, document = sentry.get(sentry.oidc_port, "/.well-known/openid-configuration")
    assert status == 200
    assert json.loads(document)["issuer"] == "https://issuer.example"
    assert json.loads(document)["jwks_uri"] == "https://issuer.example/jwks.json"
    keys = jwk.KeySet.import_key_set(json.loads(sentry.get(sentry.oidc_port, "/jwks.json")[1]))
    claims = jwt.decode(identity.jwt, keys, algorithms=["RS256"]).claims
    assert (claims["sub"], claims["iss"], claims["aud"]) == (str(identity.id), "https://issuer.example", ["public"])
    assert identity.jwt_expires == claims["exp"] == claims["iat"] + 3600


def test_the_openid_server_refuses_what_it_is_not_for(ready: Start) -> None:
    flags = ("--jwt-enabled", "--oidc-enabled", "--oidc-server-tls-enabled=false", "--oidc-path-prefix=/auth/")
    sentry = ready(*flags, "--oidc-allowed-hosts=good.example,127.0.0.1")
    port, path = sentry.oidc_port, "/auth/.well-known/openid-configuration"
    assert json.loads(sentry.get(port, path)[1])["jwks_uri"] == f"http://127.0.0.1:{port}/auth/jwks.json"
    assert json.loads(sentry.get(port, path, X_Forwarded_Host="good.example")[1])["issuer"] == "http://good.example"
    assert sentry.get(port, path, X_Forwarded_Host="evil.example") == (403, "Forbidden: unauthorized domain\n")
    assert sentry.get(port, path, "POST") == (405, "Method not allowed\n")
    assert sentry.get(port, "/jwks.json") == (404, "404 page not found\n")


@pytest.mark.parametrize("host", ["[evil", "[good.example]", 'a"b', "<a>", "user@host", "a/b", "a?b", "a b", "a:b", ""])
def test_a_host_that_is_none_gets_no_document(openid: Authority, host: str) -> None:
    answer = openid.get(openid.oidc_port, "/.well-known/openid-configuration", host=host)
    assert answer == (400, "Invalid host\n")
    assert "Traceback" not in openid.log


@pytest.mark.parametrize("host", ["good.example", "good.example:99", "[::1]:80", "127.0.0.1"])
def test_a_host_that_is_one_is_named_in_the_document(openid: Authority, host: str) -> None:
    status, document = openid.get(openid.oidc_port, "/.well-known/openid-configuration", host=host)
    assert status == 200
    assert json.loads(document)["jwks_uri"] == f"http://{host}/jwks.json"


def test_a_forwarded_name_counts_only_when_it_is_on_a_list(ready: Start) -> None:
    flags = ("--jwt-enabled", "--oidc-enabled", "--oidc-server-tls-enabled=false", "--oidc-allowed-hosts=*")
    sentry = ready(*flags)
    answer = sentry.get(sentry.oidc_port, "/.well-known/openid-configuration", X_Forwarded_Host="evil.example")
    assert "evil" not in answer[1]


def _token(**said: object) -> str:
    now = int(time.time())
    claims = {"aud": "spiffe://localhost/ns/default/dapr-sentry", "exp": now + 60, **said}
    return jwt.encode({"alg": "Ed25519", "kid": "one"}, claims, KEY, algorithms=["Ed25519"])


async def test_with_jwks_a_token_is_needed(ready: Start, tmp_path: Path) -> None:
    keys, token = tmp_path / "keys.json", tmp_path / "token"
    keys.write_text(json.dumps({"keys": [KEY.as_dict(private=False)]}))
    validators = f"    tokenValidators:\n    - name: jwks\n      options: {{source: {keys}}}\n"
    sentry = ready(configuration=CONFIGURATION + validators)
    with pytest.raises(svid.Unavailable, match="a validator name must be specified in this environment"):
        await sentry.source("myapp")
    token.write_text(_token(sub="spiffe://public/ns/default/other"))
    with pytest.raises(svid.Unavailable, match='code = PermissionDenied desc = token validation failed: "sub"'):
        await sentry.source("myapp", DAPR_SENTRY_TOKEN_FILE=str(token))
    token.write_text(_token(sub="spiffe://public/ns/default/myapp"))
    source = await sentry.source("myapp", DAPR_SENTRY_TOKEN_FILE=str(token))
    assert certificates.read_all(source.identity.chain)


def test_without_its_keys_the_validator_ends_the_start(start: Start) -> None:
    port = harness.free_port()
    validators = f"    tokenValidators:\n    - name: jwks\n      options: {{source: 'http://127.0.0.1:{port}/'}}\n"
    sentry = start(configuration=CONFIGURATION + validators)
    assert sentry.exit_code() == 1
    assert "error running Sentry: failed to init cache: failed to fetch JWKS" in sentry.log


def test_a_library_that_is_missing_is_named(start: Start, tmp_path: Path) -> None:
    (tmp_path / "joserfc.py").write_text("raise ModuleNotFoundError('gone', name='joserfc')")
    sentry = start("--jwt-enabled", environment={"PYTHONPATH": str(tmp_path)})
    assert sentry.exit_code() == 1
    assert "the library joserfc is missing: pip install pydapr[jwt]" in sentry.log


def test_a_port_that_is_taken_is_named(ready: Start, start: Start, tmp_path: Path) -> None:
    first = ready()
    second = start(f"--port={first.port}", folder=tmp_path / "second")
    assert second.exit_code() == 1
    assert (
        f"could not listen on port {first.port}: listen tcp :{first.port}: bind: address already in use" in second.log
    )


def _certificate(folder: Path) -> None:
    """A certificate for `localhost` that nobody has signed, as files `tls.crt` and `tls.key`."""
    key, name = ed25519.Ed25519PrivateKey.generate(), x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    made = builder.serial_number(x509.random_serial_number()).sign(key, None)
    for path, content in (("tls.key", certificates.encode_key(key)), ("tls.crt", certificates.encode((made,)))):
        (folder / f"{path}.new").write_bytes(content)
        os.replace(folder / f"{path}.new", folder / path)


def test_the_openid_server_shows_the_certificate_that_is_in_its_files(ready: Start, tmp_path: Path) -> None:
    _certificate(tmp_path)
    files = (f"--oidc-server-tls-cert-file={tmp_path}/tls.crt", f"--oidc-server-tls-key-file={tmp_path}/tls.key")
    sentry = ready("--jwt-enabled", "--oidc-enabled", *files)
    shown = ssl.get_server_certificate(("127.0.0.1", sentry.oidc_port))
    assert certificates.read_all(shown.encode()) == certificates.read_all((tmp_path / "tls.crt").read_bytes())
    (sentry.credentials / "issuer.key").write_text("nonsense")  # what is wrong with others does not matter here
    _certificate(tmp_path)
    harness.eventually(
        lambda: ssl.get_server_certificate(("127.0.0.1", sentry.oidc_port)) != shown, "the other certificate is shown"
    )
    assert "key is not PEM encoded" in sentry.log and "failed to load TLS certificate" not in sentry.log
