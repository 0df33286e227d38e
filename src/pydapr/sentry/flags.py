"""The command line and environment of sentry, checked, as one frozen `Settings`.

`start` calls `parse` first of all. `pflag.UsageError` is for stderr; `Invalid` is a fatal line of the log.
"""

from __future__ import annotations

import os

from pydapr.lib import pflag
from pydapr.lib.pflag import Flag
from pydapr.lib.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STANDALONE, KUBERNETES = "standalone", "kubernetes"


class Invalid(ValueError):
    """Flags that cannot stand together."""


class Jwt(Record):
    """Tokens besides certificates; None where nothing was given."""

    enabled: bool
    key_file: str
    jwks_file: str
    issuer: str | None
    algorithm: str
    key_id: str | None
    ttl: float


class Oidc(Record):
    """The server from which others get the keys of our tokens; None where nothing was given."""

    enabled: bool
    address: str
    port: int
    tls: bool
    certificate_file: str | None
    key_file: str | None
    jwks_uri: str | None
    path_prefix: str | None
    allowed_hosts: tuple[str, ...]


class Settings(Record):
    """What sentry was asked to be."""

    mode: str
    config: str
    namespace: str
    trust_domain: str
    kubeconfig: str
    port: int
    listen_address: str
    healthz_port: int
    healthz_listen_address: str
    metrics_port: int
    """0 for none."""
    metrics_listen_address: str
    ca_file: str
    issuer_file: str
    issuer_key_file: str
    jwt: Jwt
    oidc: Oidc
    log_level: str
    log_as_json: bool
    log_file: str

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the authority."""
        return self.places if self.jwt.enabled else self.places[:3]

    @property
    def places(self) -> tuple[str, ...]:
        """The files of an authority that has all that one can have."""
        return self.ca_file, self.issuer_file, self.issuer_key_file, self.jwt.key_file, self.jwt.jwks_file

    @property
    def watched(self) -> tuple[str, ...]:
        """What is watched for changes."""
        return (*self.files, *filter(None, (self.oidc.certificate_file, self.oidc.key_file)))


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Raises `pflag.UsageError` and `Invalid`."""
    flags = pflag.parse("sentry", _with_kubeconfig(environ), arguments)
    metrics_port = 0
    if flags.bool("enable-metrics"):
        try:
            metrics_port = pflag.atoi(flags.string("metrics-port"))
        except ValueError as error:
            raise Invalid(f"failed to parse metrics port: {error}") from None
    settings = Settings(
        mode=flags.string("mode"),
        config=flags.string("config"),
        namespace=environ.get("NAMESPACE", "default"),
        trust_domain=flags.string("trust-domain"),
        kubeconfig=flags.string("kubeconfig"),
        port=flags.int("port"),
        listen_address=flags.string("listen-address"),
        healthz_port=flags.int("healthz-port"),
        healthz_listen_address=flags.string("healthz-listen-address"),
        metrics_port=metrics_port,
        metrics_listen_address=flags.string("metrics-listen-address"),
        ca_file=_file(flags, "issuer-ca-filename"),
        issuer_file=_file(flags, "issuer-certificate-filename"),
        issuer_key_file=_file(flags, "issuer-key-filename"),
        jwt=_jwt(flags),
        oidc=_oidc(flags),
        log_level=flags.string("log-level"),
        log_as_json=flags.bool("log-as-json"),
        log_file=flags.string("log-file"),
    )
    _check(settings)
    return settings


def _jwt(flags: pflag.Parsed) -> Jwt:
    return Jwt(
        enabled=flags.bool("jwt-enabled"),
        key_file=_file(flags, "jwt-key-filename"),
        jwks_file=_file(flags, "jwks-filename"),
        issuer=_given(flags, "jwt-issuer"),
        algorithm=flags.string("jwt-signing-algorithm"),
        key_id=_given(flags, "jwt-key-id"),
        ttl=flags.seconds("jwt-ttl"),
    )


def _oidc(flags: pflag.Parsed) -> Oidc:
    return Oidc(
        enabled=flags.bool("oidc-enabled"),
        address=flags.string("oidc-server-listen-address"),
        port=flags.int("oidc-server-listen-port"),
        tls=flags.bool("oidc-server-tls-enabled"),
        certificate_file=_given(flags, "oidc-server-tls-cert-file"),
        key_file=_given(flags, "oidc-server-tls-key-file"),
        jwks_uri=_given(flags, "oidc-jwks-uri"),
        path_prefix=_given(flags, "oidc-path-prefix"),
        allowed_hosts=flags.strings("oidc-allowed-hosts"),
    )


def _check(settings: Settings) -> None:
    """Raises `Invalid`."""
    oidc = settings.oidc
    if settings.mode not in (STANDALONE, KUBERNETES):
        raise Invalid(f"Invalid options: invalid mode: {settings.mode}")
    if oidc.enabled and oidc.tls:
        for name, given in (("cert", oidc.certificate_file), ("key", oidc.key_file)):
            if given is None:
                raise Invalid(
                    f"Invalid options: oidc-server-tls-{name}-file is required when OIDC HTTP server is enabled "
                    "(unless oidc-server-tls-enabled is false)"
                )
    if settings.jwt.issuer is not None and not settings.jwt.enabled:
        raise Invalid("Invalid options: jwt-issuer cannot be set when jwt-enabled is false")
    if settings.jwt.enabled and settings.jwt.ttl <= 0:
        raise Invalid("Invalid options: jwt-ttl must be positive")
    if (oidc.certificate_file is None) != (oidc.key_file is None):
        raise Invalid("both OIDC TLS certificate and key must be provided if one is specified")


def _file(flags: pflag.Parsed, name: str) -> str:
    return os.path.join(flags.string("issuer-credentials"), flags.string(name))


def _given(flags: pflag.Parsed, name: str) -> str | None:
    return flags.string(name) if name in flags.given else None


def _with_kubeconfig(environ: Mapping[str, str]) -> tuple[Flag, ...]:
    home = environ.get("HOME", "")
    default = os.path.join(home, ".kube", "config") if home else ""
    return (*FLAGS, Flag("kubeconfig", default, "How to reach the Kubernetes API; used in mode kubernetes"))


FLAGS = (
    Flag("config", "daprsystem", "File with the Configuration; in Kubernetes its name"),
    Flag("issuer-credentials", "/var/run/secrets/dapr.io/credentials", "Folder with the files of the authority"),
    Flag("issuer-ca-filename", "ca.crt", "File with the root certificates"),
    Flag("issuer-certificate-filename", "issuer.crt", "File with the issuer's certificate and those above it"),
    Flag("issuer-key-filename", "issuer.key", "File with the issuer's private key"),
    Flag("trust-domain", "localhost", "Trust domain of the control plane"),
    Flag("port", 50001, "Port on which certificates are asked for", "int"),
    Flag("listen-address", "", "Address on which certificates are asked for; empty for all"),
    Flag("healthz-port", 8080, "Port of the health check", "int"),
    Flag("healthz-listen-address", "", "Address of the health check; empty for all"),
    Flag("mode", STANDALONE, "Where Dapr runs: standalone or kubernetes"),
    Flag("jwt-enabled", False, "Issue tokens together with certificates", "bool"),
    Flag("jwt-key-filename", "jwt.key", "File with the private key that signs tokens"),
    Flag("jwks-filename", "jwks.json", "File with the public keys of tokens, as a JWK set"),
    Flag("jwt-issuer", "", "Issuer of tokens (`iss`); without one they name none"),
    Flag("jwt-signing-algorithm", "RS256", "Algorithm of tokens; the key must be one for it"),
    Flag("jwt-key-id", "", "Key id of tokens (`kid`); without one the SHA-256 thumbprint of the key"),
    Flag("jwt-ttl", 86400.0, "How long a token holds", "duration"),
    Flag("oidc-enabled", False, "Serve the keys of tokens by HTTP, with OpenID discovery", "bool"),
    Flag("oidc-server-listen-port", 9080, "Port of the OpenID server", "int"),
    Flag("oidc-server-listen-address", "localhost", "Address of the OpenID server"),
    Flag("oidc-server-tls-enabled", True, "Serve OpenID by HTTPS", "bool"),
    Flag("oidc-server-tls-cert-file", "", "File with the certificate of the OpenID server"),
    Flag("oidc-server-tls-key-file", "", "File with the private key of the OpenID server"),
    Flag("oidc-jwks-uri", "", "Where discovery says that the keys are, if it is not here"),
    Flag("oidc-path-prefix", "", "What the paths of the OpenID server begin with"),
    Flag("oidc-allowed-hosts", (), "Hosts by which the OpenID server may be called; any without", "strings"),
    Flag("enable-metrics", True, "Serve Prometheus metrics", "bool"),
    Flag("metrics-port", "9090", "Port of the metrics"),
    Flag("metrics-listen-address", "0.0.0.0", "Address of the metrics"),
    Flag("log-level", "info", "From which level on to log: debug, info, warn, error or fatal"),
    Flag("log-as-json", False, "Log as JSON lines", "bool"),
    Flag("log-file", "", "File to write the log to, instead of stdout"),
)
