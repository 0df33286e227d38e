"""The one call of sentry's gRPC service: a signing request in, a certificate out, or a status that says why not.

The handler of the server that `runtime` opens; goes on to the validators and the authority. Statuses and texts are
the original's (v1.18.3, `pkg/sentry/server/server.go`).
"""

import asyncio
import datetime
from collections.abc import Mapping

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from google.protobuf.message import DecodeError

from pydapr.errors import Code, RpcError
from pydapr.lib.record import Record
from pydapr.net import grpc_server
from pydapr.net.http2_server import ServerExchange
from pydapr.observe import logging
from pydapr.proto.dapr.proto.sentry.v1 import sentry_pb2
from pydapr.security import pem, spiffe, token
from pydapr.sentry import authority, metrics, validators
from pydapr.sentry.configuration import NAMES

log = logging.get("dapr.sentry.server")

METHOD = b"/dapr.proto.sentry.v1.CA/SignCertificate"
MAX_REQUEST = 4 << 20
VALIDATE_SECONDS = 30.0
"""How long a request may take whose caller gives no time."""

_LABELS = ("CERTIFICATE REQUEST", "CERTIFICATE")
_SCHEDULERS = 3


class Place(Record):
    """Where sentry is: its namespace, and the domain that host names of its services end in."""

    namespace: str
    domain: str


class Service:
    """Answers the service. `authority` may be replaced while it runs."""

    def __init__(
        self,
        current: authority.Authority,
        known: Mapping[int, validators.Validator],
        default_validator: int,
        place: Place,
        counts: metrics.Counts,
    ) -> None:
        self.authority = current
        self._validators = known
        self._default = default_validator
        self._place = place
        self._counts = counts

    def methods(self) -> grpc_server.Methods:
        """The handler of a server."""
        return grpc_server.Methods({METHOD: self._handle})

    async def _handle(self, exchange: ServerExchange) -> None:
        timeout = exchange.fields.get(b"grpc-timeout")
        seconds = VALIDATE_SECONDS if timeout is None else grpc_server.seconds(timeout)
        try:
            async with asyncio.timeout(seconds):
                data = await grpc_server.read(exchange, MAX_REQUEST)
                answer = await self.sign(data)
        except TimeoutError:
            raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded") from None
        grpc_server.reply(exchange, answer)

    async def sign(self, data: bytes) -> bytes:
        """The answer to a request. Raises `RpcError`."""
        try:
            request = sentry_pb2.SignCertificateRequest.FromString(data)
        except DecodeError:
            text = "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data"
            raise RpcError(Code.INTERNAL, text) from None
        self._counts.received.value += 1
        try:
            answer = await self._sign(request)
        except BaseException:
            self._counts.failed.value += 1
            raise
        self._counts.signed.value += 1
        return answer.SerializeToString()

    async def _sign(self, request: sentry_pb2.SignCertificateRequest) -> sentry_pb2.SignCertificateResponse:
        who = f"{request.namespace}/{request.id}"
        trust_domain = await self._validate(request, who)
        wanted = _signing_request(request.certificate_signing_request)
        current = self.authority  # of one, whichever is loaded meanwhile, come certificate and tokens
        now = datetime.datetime.now(datetime.UTC)
        try:
            own = spiffe.new(trust_domain, request.namespace, request.id)
            chain, until = current.sign(wanted, own, self._host_names(request), now)
        except (spiffe.Malformed, authority.CannotSign, ValueError) as error:
            log.error(f"Error signing identity: {error}")
            raise RpcError(Code.INTERNAL, "failed to sign certificate") from None
        log.debug(f"Successfully signed certificate for {who}")
        answer = sentry_pb2.SignCertificateResponse(
            workload_certificate=chain, trust_chain_certificates=[current.bundle.anchors]
        )
        answer.valid_until.FromDatetime(until)
        if current.tokens is not None:
            audiences = [trust_domain, *request.jwt_audiences]
            answer.jwt.value = current.tokens.issue(own, audiences, now.timestamp())
            for audience in audiences:
                await asyncio.sleep(0)  # as many as are asked for, a millisecond each: others get their turn
                answer.per_audience_jwts[audience].value = current.tokens.issue(own, [audience], now.timestamp())
        return answer

    async def _validate(self, request: sentry_pb2.SignCertificateRequest, who: str) -> str:
        """The trust domain of who asks. Raises `RpcError`."""
        number = request.token_validator or self._default
        if number == token.UNKNOWN:
            raise RpcError(Code.INVALID_ARGUMENT, "a validator name must be specified in this environment")
        validator = self._validators.get(number)
        if validator is None:
            log.debug(f"Validator '{NAMES.get(number, number)}' is not enabled for {who}")
            raise RpcError(Code.INVALID_ARGUMENT, "the requested validator is not enabled")
        log.debug(f"Processing SignCertificate request for {who} (validator: {NAMES[number]})")
        try:
            return await validator.validate(request)
        except validators.Refused as error:
            log.debug(f"Failed to validate request for {who}: {error}")
            raise RpcError(Code.PERMISSION_DENIED, str(error)) from None

    def _host_names(self, request: sentry_pb2.SignCertificateRequest) -> list[str]:
        """Names of hosts for services of the control plane that are called by others than Dapr."""
        namespace, domain = self._place.namespace, self._place.domain
        if request.namespace != namespace:
            return []
        if request.id == "dapr-injector":
            return [f"dapr-sidecar-injector.{namespace}.svc"]
        if request.id == "dapr-operator":
            return [f"dapr-webhook.{namespace}.svc"]
        if request.id == "dapr-scheduler":
            service = f"dapr-scheduler-server.{namespace}.svc.{domain}"
            return [f"dapr-scheduler-server-{number}.{service}" for number in range(_SCHEDULERS)]
        return []


def _signing_request(data: bytes) -> x509.CertificateSigningRequest:
    """Raises `RpcError`."""
    found = pem.blocks(data)
    if not found or found[0][0] not in _LABELS:
        raise RpcError(Code.INVALID_ARGUMENT, "invalid certificate signing request")
    try:
        request = x509.load_der_x509_csr(found[0][1])
    except ValueError as error:
        raise RpcError(Code.INVALID_ARGUMENT, f"failed to parse certificate signing request: {error}") from None
    try:
        is_signed = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm):
        is_signed = False
    if not is_signed:
        raise RpcError(Code.INVALID_ARGUMENT, "invalid signature")
    return request
