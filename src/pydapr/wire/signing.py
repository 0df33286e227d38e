"""What sentry is asked for, and what it answers: the messages of `dapr.proto.sentry.v1`.

Called by `security.request` and `sentry.service`. Written and read by hand like `wire.invocation`, so that neither
needs a protobuf library, which costs each of them 14 ms of its start and 3 MB.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from pydapr.wire.invocation import Invalid, field, fields, given_text, octets, signed, text, text_field, varint

__all__ = ["Answer", "Invalid", "Request", "answer"]

_CERTIFICATE: Final = b"\x0a"
_TRUSTED: Final = b"\x12"
_UNTIL: Final = b"\x1a"
_TOKEN: Final = b"\x22"
_FOR_AUDIENCE: Final = b"\x2a"


class Request:
    """`SignCertificateRequest`; `token_validator` is the number of a validator."""

    __slots__ = (
        "certificate_signing_request",
        "id",
        "jwt_audiences",
        "namespace",
        "token",
        "token_validator",
        "trust_domain",
    )

    def __init__(
        self,
        id: str = "",
        namespace: str = "",
        trust_domain: str = "",
        token: str = "",
        certificate_signing_request: bytes = b"",
        token_validator: int = 0,
        jwt_audiences: Sequence[str] = (),
    ) -> None:
        self.id = id
        self.token = token
        self.trust_domain = trust_domain
        self.namespace = namespace
        self.certificate_signing_request = certificate_signing_request
        self.token_validator = token_validator
        self.jwt_audiences: list[str] = list(jwt_audiences)

    def encode(self) -> bytes:
        out = [
            text_field(b"\x0a", self.id),
            text_field(b"\x12", self.token),
            text_field(b"\x1a", self.trust_domain),
            text_field(b"\x22", self.namespace),
        ]
        if self.certificate_signing_request:
            out.append(field(b"\x2a", self.certificate_signing_request))
        if self.token_validator:
            out.append(b"\x30" + varint(self.token_validator & 0xFFFF_FFFF_FFFF_FFFF))
        out += [given_text(b"\x3a", audience) for audience in self.jwt_audiences]
        return b"".join(out)

    @staticmethod
    def decode(data: bytes) -> "Request":
        """Raises `Invalid`."""
        out = Request()
        for number, value in fields(data):
            if number == 1:
                out.id = text(value)
            elif number == 2:
                out.token = text(value)
            elif number == 3:
                out.trust_domain = text(value)
            elif number == 4:
                out.namespace = text(value)
            elif number == 5:
                out.certificate_signing_request = octets(value)
            elif number == 6:
                out.token_validator = signed(value)
            elif number == 7:
                out.jwt_audiences.append(text(value))
        return out


class Answer:
    """What who asks needs of a `SignCertificateResponse`: the chain in PEM, and tokens if there are any."""

    __slots__ = ("jwt", "jwt_by_audience", "workload_certificate")

    def __init__(self) -> None:
        self.workload_certificate = b""
        self.jwt = ""
        self.jwt_by_audience: dict[str, str] = {}

    @staticmethod
    def decode(data: bytes) -> "Answer":
        """Raises `Invalid`."""
        out = Answer()
        for number, value in fields(data):
            if number == 1:
                out.workload_certificate = octets(value)
            elif number == 4:
                out.jwt = _string_value(octets(value))
            elif number == 5:
                audience = token = ""
                for inner, part in fields(octets(value)):
                    if inner == 1:
                        audience = text(part)
                    elif inner == 2:
                        token = _string_value(octets(part))
                out.jwt_by_audience[audience] = token
        return out


def answer(chain: bytes, anchors: bytes, until: int, jwt: str, jwt_by_audience: Mapping[str, str]) -> bytes:
    """A `SignCertificateResponse` for a certificate that holds `until`, in seconds; `jwt` is empty if there is none."""
    out = [field(_CERTIFICATE, chain), field(_TRUSTED, anchors), field(_UNTIL, b"\x08" + varint(until))]
    if jwt:
        out.append(field(_TOKEN, text_field(b"\x0a", jwt)))
    for audience, token in jwt_by_audience.items():
        entry = given_text(b"\x0a", audience) + field(b"\x12", text_field(b"\x0a", token))
        out.append(field(_FOR_AUDIENCE, entry))
    return b"".join(out)


def _string_value(data: bytes) -> str:
    """A google.protobuf.StringValue."""
    out = ""
    for number, value in fields(data):
        if number == 1:
            out = text(value)
    return out
