"""What the Configuration says to sentry: how long certificates hold, and how those who ask are checked.

Called by `runtime` with the settings; `spec.mtls` is read by `resources.configuration`.
"""

from collections.abc import Mapping

from pydapr.lib import durations, quote
from pydapr.lib.record import Record
from pydapr.resources import configuration
from pydapr.security import token
from pydapr.sentry import flags

WORKLOAD_SECONDS = 24 * 3600.0
SKEW_SECONDS = 15 * 60.0

_NUMBERS = {"unknown": token.UNKNOWN, "insecure": token.INSECURE, "kubernetes": token.KUBERNETES, "jwks": token.JWKS}
NAMES = {number: name for name, number in _NUMBERS.items()}


class Invalid(ValueError):
    """The Configuration cannot be used."""


class Rules(Record):
    """Lifetimes in seconds; validators by number with their options; which one holds for who names none."""

    workload_seconds: float
    skew_seconds: float
    validators: Mapping[int, Mapping[str, str]]
    default_validator: int


def load(settings: flags.Settings, environ: Mapping[str, str]) -> Rules:
    """Raises `Invalid`."""
    try:
        loaded = configuration.load_files((settings.config,), environ)
        return read(loaded.mtls)
    except ValueError as error:
        raise not_found(settings.config, str(error)) from None


def not_found(name: str, reason: str) -> Invalid:
    """What to say when there is no Configuration of this name, or none that can be used."""
    return Invalid(f"loading default config. couldn't find config name {quote.go(name)}: {reason}")


def read(mtls: configuration.Mtls, in_kubernetes: bool = False) -> Rules:
    """In Kubernetes tokens of pods always count; elsewhere everybody is believed unless something else is said.
    Raises `Invalid`."""
    validators: dict[int, Mapping[str, str]] = {}
    for one in mtls.token_validators:
        if _NUMBERS.get(one.name.lower()) in (token.INSECURE, token.KUBERNETES):
            raise Invalid(
                "invalid token validator: the built-in 'kubernetes' and 'insecure' validators cannot be configured "
                "manually"
            )
        if one.name.lower() != "jwks":
            raise Invalid(f"invalid token validator name: '{one.name}'; supported values: 'jwks'")
        validators[token.JWKS] = _options(one.options)
    workload = _seconds("WorkloadCertTTL", mtls.workload_cert_ttl, WORKLOAD_SECONDS)
    if workload <= 0:
        raise Invalid(f"WorkloadCertTTL must be positive, got {mtls.workload_cert_ttl}")
    skew = _seconds("AllowedClockSkew", mtls.allowed_clock_skew, SKEW_SECONDS)
    if skew < 0:
        raise Invalid(f"AllowedClockSkew must not be negative, got {mtls.allowed_clock_skew}")
    default = token.UNKNOWN
    if in_kubernetes:
        validators[token.KUBERNETES] = {}
        default = token.KUBERNETES
    elif not validators:
        validators[token.INSECURE] = {}
        default = token.INSECURE
    return Rules(workload, skew, validators, default)


def _seconds(name: str, text: str, default: float) -> float:
    if not text:
        return default
    try:
        return durations.parse(text)
    except ValueError as error:
        raise Invalid(f"error parsing {name} duration: {error}") from None


def _options(given: object) -> Mapping[str, str]:
    """Options by name in lower case; as in the original, case does not matter."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise Invalid("options of the token validator 'jwks' are no mapping")
    return {str(name).lower(): "" if value is None else str(value) for name, value in given.items()}
