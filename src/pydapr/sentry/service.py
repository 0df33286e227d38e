"""The one call of sentry's gRPC service: a signing request in, a certificate out, or a status that says why not.

The handler of the server that `runtime` opens; goes on to the validators and the authority. Statuses and texts are
the original's (v1.18.3, `pkg/sentry/server/server.go`).
"""

import asyncio
import datetime
from collections.abc import Mapping

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from pydapr.errors import Code, RpcError
from pydapr.lib.record import Record
from pydapr.net import grpc_server
from pydapr.net.http2_server import ServerExchange
from pydapr.observe import logging
from pydapr.security import certificates, pem, spiffe, token
from pydapr.sentry import authority, metrics, validators
from pydapr.sentry.configuration import NAMES
from pydapr.wire import signing

log = logging.get("dapr.sentry.server")

METHOD = b"/dapr.proto.sentry.v1.CA/SignCertificate"
MAX_REQUEST = 4 << 20
MAX_SECONDS = 30.0
"""How long a request may take, whatever its caller says."""

MAX_AUDIENCES = 1000
"""How many tokens one may ask for at once: each costs more than the certificate."""

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
        seconds = MAX_SECONDS if timeout is None else min(grpc_server.seconds(timeout), MAX_SECONDS)
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
            request = signing.Request.decode(data)
        except signing.Invalid:
            text = "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data"
            raise RpcError(Code.INTERNAL, text) from None
        self._counts.received.value += 1
        try:
            answer = await self._sign(request)
        except BaseException:
            self._counts.failed.value += 1
            raise
        self._counts.signed.value += 1
        return answer

    async def _sign(self, request: signing.Request) -> bytes:
        who = f"{request.namespace}/{request.id}"
        if len(request.jwt_audiences) > MAX_AUDIENCES:
            raise RpcError(Code.INVALID_ARGUMENT, f"more than {MAX_AUDIENCES} audiences")
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
        jwt, jwt_by_audience = "", dict[str, str]()
        if current.tokens is not None:
            audiences = [trust_domain, *request.jwt_audiences]
            jwt = current.tokens.issue(own, audiences, now.timestamp())
            for audience in dict.fromkeys(audiences):
                await asyncio.sleep(0)  # as many as are asked for, a millisecond each: others get their turn
                jwt_by_audience[audience] = current.tokens.issue(own, [audience], now.timestamp())
        return signing.answer(chain, current.bundle.anchors, int(until.timestamp()), jwt, jwt_by_audience)

    async def _validate(self, request: signing.Request, who: str) -> str:
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

    def _host_names(self, request: signing.Request) -> list[str]:
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
        certificates.public_key(request)
    except Exception as error:  # the library has many: ValueError, TypeError, InvalidVersion, UnsupportedAlgorithm...
        raise RpcError(Code.INVALID_ARGUMENT, f"failed to parse certificate signing request: {error}") from None
    try:
        is_signed = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm):
        is_signed = False
    if not is_signed:
        raise RpcError(Code.INVALID_ARGUMENT, "invalid signature")
    return request
