"""Every error that the API can answer: a class per meaning, with HTTP status, gRPC code and error code.

Raised by blocks, worded and encoded by the faces (`api.http.errors`, `api.grpc`). Messages are Dapr's own,
since programs match them (v1.18.3, `pkg/messages/predefined.go`). They stand in one file, since they are one list.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum


class Code(IntEnum):
    """gRPC's status codes (grpc/doc/statuscodes.md)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


_GO_NAMES = {Code.OK: "OK", Code.CANCELLED: "Canceled"}


def go_name(code: int) -> str:
    """The name that grpc-go prints for `code`: `Unavailable`, `NotFound`, `Code(77)`."""
    try:
        known = Code(code)
    except ValueError:
        return f"Code({code})"
    return _GO_NAMES.get(known) or known.name.title().replace("_", "")


class RpcError(Exception):
    """A gRPC status other than OK, received or about to be sent.

    `str()` is grpc-go's text, because it stands inside the messages that the original answers.
    """

    def __init__(self, code: int, message: str, details: bytes = b"") -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, details

    def __str__(self) -> str:
        return f"rpc error: code = {go_name(self.code)} desc = {self.message}"


class DaprError(Exception):
    """An answer of the API that is an error.

    `status` is the HTTP status, `grpc` the gRPC code, `code` the `errorCode` in the body, `category` the part of
    the API that metrics of errors count it under.
    """

    status = 500
    grpc = Code.INTERNAL
    code = "ERROR"
    category = "common"
    details: "Details | None" = None
    """What there is to tell besides the message."""
    fields: "Sequence[tuple[bytes, bytes]]" = ()
    """Header fields of the answer over HTTP."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def for_grpc(self) -> "DaprError":
        """The same error as the gRPC face words it, where the two faces differ."""
        return self


class Details:
    """What an error tells besides its message, in the terms of google/rpc/error_details.proto.

    `reason` and `metadata` are its ErrorInfo, `resource` the type and name of what is concerned and `description` what
    is said of it, `violations` the fields that are wrong and why, `links` descriptions and addresses of help. `domain`
    is of who words the error.
    """

    __slots__ = ("description", "domain", "links", "metadata", "reason", "resource", "violations")

    def __init__(
        self,
        reason: str,
        metadata: dict[str, str] | None = None,
        resource: tuple[str, str] | None = None,
        violations: tuple[tuple[str, str], ...] = (),
        links: tuple[tuple[str, str], ...] = (),
        domain: str = "dapr.io",
        description: str = "",
    ) -> None:
        self.reason, self.metadata, self.resource = reason, metadata, resource
        self.violations, self.links, self.domain, self.description = violations, links, domain, description


class InvokeFailed(DaprError):
    """A service could not be invoked: not found, not reached, or the call broke before an answer began."""

    code = "ERR_DIRECT_INVOKE"
    category = "service-invocation"


class InvokeDenied(InvokeFailed):
    """The callee's access rules refuse the call. Only HTTP has a status of its own for it, as with the original."""

    status = 403


class NoTarget(InvokeFailed):
    """No app id stands in the path, the `dapr-app-id` header or the user information of the URL."""

    status = 404
    grpc = Code.NOT_FOUND

    def __init__(self) -> None:
        super().__init__("failed getting app id either from the URL path or the header dapr-app-id")


class NotReady(DaprError):
    """Some part of the sidecar is not ready; `targets` names which."""

    code = "ERR_HEALTH_NOT_READY"
    category = "health"

    def __init__(self, targets: str) -> None:
        super().__init__(f"dapr is not ready: [{targets}]")


class OutboundNotReady(DaprError):
    """Components are not loaded yet, so the app cannot use the sidecar."""

    code = "ERR_OUTBOUND_HEALTH_NOT_READY"
    category = "health"

    def __init__(self) -> None:
        super().__init__("dapr outbound is not ready")


class WrongAppId(DaprError):
    """The health check asked for another app than the one beside this sidecar."""

    code = "ERR_HEALTH_APPID_NOT_MATCH"
    category = "health"

    def __init__(self) -> None:
        super().__init__("dapr app-id does not match")


class BodyUnreadable(DaprError):
    """The body of a request could not be read, most often because it is over the limit."""

    status = 400
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_BODY_READ"

    def __init__(self, reason: str) -> None:
        super().__init__(f"failed to read request body: {reason}")


class TooManyAttributes(DaprError):
    """The metadata hold as many attributes as they may."""

    status = 400
    grpc = Code.RESOURCE_EXHAUSTED
    code = "ERR_BAD_REQUEST"

    def __init__(self, most: int) -> None:
        super().__init__(f"invalid request: metadata hold no more than {most} attributes")


class SecretStoresNotConfigured(DaprError):
    """There is no secret store at all."""

    grpc = Code.FAILED_PRECONDITION
    code = "ERR_SECRET_STORES_NOT_CONFIGURED"
    category = "secret"

    def __init__(self) -> None:
        super().__init__("secret store is not configured")


class SecretStoreNotFound(DaprError):
    """There is no secret store of this name."""

    status = 401
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_SECRET_STORE_NOT_FOUND"
    category = "secret"

    def __init__(self, name: str) -> None:
        super().__init__(f"failed finding secret store with key {name}")


class SecretDenied(DaprError):
    """The Configuration does not let the app read this secret."""

    status = 403
    grpc = Code.PERMISSION_DENIED
    code = "ERR_PERMISSION_DENIED"
    category = "secret"


class SecretFailed(DaprError):
    """The store has no such secret, or could not be asked."""

    code = "ERR_SECRET_GET"
    category = "secret"


class MalformedRequest(DaprError):
    """The body of a request is not what it should be."""

    status = 400
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_MALFORMED_REQUEST"


class AboutState(DaprError):
    """Something about state."""

    category = "state"


class StateStoreNotConfigured(AboutState):
    """There is no state store at all. The HTTP face tells the app's id, too."""

    grpc = Code.FAILED_PRECONDITION
    code = "ERR_STATE_STORE_NOT_CONFIGURED"
    _reason, _state = "DAPR_STATE_NOT_CONFIGURED", "configured"

    def __init__(self, store: str, app_id: str = "") -> None:
        super().__init__(f"state store {store} is not {self._state}")
        self._store = store
        self.details = Details(self._reason, {"appID": app_id} if app_id else None)

    def for_grpc(self) -> DaprError:
        return type(self)(self._store)


class StateStoreNotFound(StateStoreNotConfigured):
    """There is no state store of this name."""

    status = 400
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_STATE_STORE_NOT_FOUND"
    _reason, _state = "DAPR_STATE_NOT_FOUND", "found"


class StateKeyIllegal(AboutState):
    """A key has in it what separates keys from their prefix. The HTTP face words it as an error inside of one."""

    status = 400
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_MALFORMED_REQUEST"

    def __init__(self, store: str, key: str, before: str = "api error: code = InvalidArgument desc = ") -> None:
        super().__init__(f"{before}input key/keyPrefix '{key}' can't contain '||'")
        self._store, self._key = store, key
        self.details = Details("DAPR_STATE_ILLEGAL_KEY", resource=("state", store), violations=((key, self.message),))

    def for_grpc(self) -> DaprError:
        return StateKeyIllegal(self._store, self._key, "")


class StateKeyMissing(MalformedRequest):
    """A value is to be saved without a key."""

    def __init__(self) -> None:
        super().__init__('"key" is a required field')

    def for_grpc(self) -> DaprError:
        error = AboutState("state key cannot be empty")
        error.grpc = Code.INVALID_ARGUMENT
        error.details = Details("ERR_STATE_SAVE")
        return error


class StateWorded(AboutState):
    """The store says itself how its error is to be answered."""

    category = "pluggable-component"

    def __init__(self, status: int, grpc: Code, message: str, tag: str, details: Details) -> None:
        super().__init__(message)
        self.status, self.grpc, self.code, self.details = status, grpc, tag, details


class StateFailed(AboutState):
    """The store did not do what it was asked to. The gRPC face tells the code among the details, or what the store has
    `worded`."""

    def __init__(
        self,
        code: str,
        message: str,
        status: int = 500,
        grpc: Code = Code.INTERNAL,
        worded: StateWorded | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.status, self.grpc, self.worded = code, status, grpc, worded

    def for_grpc(self) -> DaprError:
        if self.worded is not None:
            return self.worded
        self.details = Details(self.code)
        return self


class StateOperationUnknown(StateFailed):
    """An operation of a transaction is neither `upsert` nor `delete`."""

    def __init__(self, name: str) -> None:
        text = f"operation type {name} not supported"
        super().__init__("ERR_NOT_SUPPORTED_STATE_OPERATION", text, 400, Code.UNIMPLEMENTED)


class TransactionsNotSupported(AboutState):
    """The store has no transactions."""

    grpc = Code.UNIMPLEMENTED
    code = "ERR_STATE_STORE_NOT_SUPPORTED"

    def __init__(self, store: str) -> None:
        super().__init__(f"state store {store} doesn't support transactions")
        help_ = (
            "Check the list of state stores and the features they support",
            "https://docs.dapr.io/reference/components-reference/supported-state-stores/",
        )
        self.details = Details("DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED", resource=("state", store), links=(help_,))


class TooManyOperations(AboutState):
    """A transaction has more operations than the store takes."""

    status = 400
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS"

    def __init__(self, store: str, count: int, most: int) -> None:
        super().__init__(
            f"the transaction contains {count} operations, which is more than what the state store supports: {most}"
        )
        counts = {"currentOpsTransaction": str(count), "maxOpsPerTransaction": str(most)}
        self.details = Details("DAPR_STATE_TOO_MANY_TRANSACTIONS", counts, ("state", store))


class QueryNotSupported(AboutState):
    """The store cannot be queried, or its keys cannot be listed."""

    code = "ERR_STATE_STORE_NOT_SUPPORTED"

    def __init__(self, store: str, what: str = "querying") -> None:
        super().__init__(f"state store does not support {what}")
        self.details = Details("DAPR_STATE_QUERYING_NOT_SUPPORTED", resource=("state", store))


class QueryFailed(AboutState):
    """A query is none, or could not be carried out."""

    code = "ERR_STATE_QUERY"

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(f"state store {store} query failed: {reason}")
        self.details = Details("DAPR_STATE_QUERY_FAILED", resource=("state", store))


class BadRequest(DaprError):
    """The request lacks something, or has something that it may not have."""

    status = 400
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_BAD_REQUEST"

    def __init__(self, reason: str) -> None:
        super().__init__(f"invalid request: {reason}")


class Unimplemented(DaprError):
    """An API that the original has switched off."""

    status = 501
    grpc = Code.UNIMPLEMENTED
    code = "ERR_API_UNIMPLEMENTED"

    def __init__(self) -> None:
        super().__init__("this API is currently not implemented")


class CryptoProvidersNotConfigured(DaprError):
    """There is no cryptographic provider at all."""

    code = "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED"
    category = "crypto"

    def __init__(self) -> None:
        super().__init__("crypto providers not configured")


class CryptoProviderNotFound(DaprError):
    """There is no cryptographic provider of this name."""

    status = 400
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_CRYPTO_PROVIDER_NOT_FOUND"
    category = "crypto"

    def __init__(self, name: str) -> None:
        super().__init__(f"crypto provider {name} not found")


class CryptoFailed(DaprError):
    """A document cannot be encrypted or decrypted; nothing of it has been yet."""

    code = "ERR_CRYPTO"
    category = "crypto"

    def __init__(self, reason: str) -> None:
        super().__init__(f"failed to perform operation: {reason}")


class CryptoBroken(DaprError):
    """The encryption or decryption of a document ended before its end. Over HTTP the original has no code for it."""

    category = "crypto"

    def for_grpc(self) -> DaprError:
        return CryptoFailed(self.message)


class LockStoresNotConfigured(DaprError):
    """There is no lock store at all."""

    grpc = Code.FAILED_PRECONDITION
    code = "ERR_LOCK_STORE_NOT_CONFIGURED"
    category = "lock"

    def __init__(self) -> None:
        super().__init__("lock store is not configured")


class LockStoreNotFound(DaprError):
    """There is no lock store of this name."""

    status = 400
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_LOCK_STORE_NOT_FOUND"
    category = "lock"

    def __init__(self, name: str) -> None:
        super().__init__(f"lock store {name} not found")


class LockFailed(DaprError):
    """A lock could neither be taken nor refused: what was asked may have been done."""

    code = "ERR_TRY_LOCK"
    category = "lock"

    def __init__(self, reason: str) -> None:
        super().__init__(f"failed to try acquiring lock: {reason}")


class UnlockFailed(DaprError):
    """It is not known whether a lock was given back."""

    code = "ERR_UNLOCK"
    category = "lock"

    def __init__(self, reason: str) -> None:
        super().__init__(f"failed to release lock: {reason}")


class AboutConfiguration(DaprError):
    """Something about configuration stores. The gRPC face tells the code among the details."""

    category = "configuration"

    def for_grpc(self) -> DaprError:
        self.details = Details(self.code)
        return self


class ConfigurationStoresNotConfigured(AboutConfiguration):
    """There is no configuration store at all."""

    grpc = Code.FAILED_PRECONDITION
    code = "ERR_CONFIGURATION_STORE_NOT_CONFIGURED"

    def __init__(self) -> None:
        super().__init__("configuration stores not configured")


class ConfigurationStoreNotFound(AboutConfiguration):
    """There is no configuration store of this name."""

    status = 400
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_CONFIGURATION_STORE_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"configuration store {name} not found")


class ConfigurationGetFailed(AboutConfiguration):
    """Items could not be read."""

    code = "ERR_CONFIGURATION_GET"


class ConfigurationSubscribeFailed(AboutConfiguration):
    """A subscription could not be made."""

    grpc = Code.INVALID_ARGUMENT
    code = "ERR_CONFIGURATION_SUBSCRIBE"


class ConfigurationUnsubscribeFailed(AboutConfiguration):
    """There is no such subscription, or it could not be ended. Neither face answers it as an error."""

    code = "ERR_CONFIGURATION_UNSUBSCRIBE"


class BindingFailed(DaprError):
    """An output binding did not do what it was asked to, or there is none of the name.

    `metadata` is what the binding tells of it all the same. The gRPC face tells the code among the details.
    """

    code = "ERR_INVOKE_OUTPUT_BINDING"
    category = "binding"

    def __init__(self, name: str, reason: str, metadata: Mapping[str, str]) -> None:
        super().__init__(f"error invoking output binding {name}: {reason}")
        self.metadata = metadata

    def for_grpc(self) -> DaprError:
        self.details = Details(self.code)
        return self


class AppChannelMissing(DaprError):
    """The app is to be called, and has no port."""

    code = "ERR_APP_CHANNEL_NIL"

    def __init__(self, what: str) -> None:
        super().__init__(f"app channel is not initialized. {what}")


class Internal(DaprError):
    """A fault of pydapr itself; the log tells more."""

    code = "ERR_INTERNAL"


class ConversationNotFound(DaprError):
    """There is no conversation component of this name."""

    status = 400
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_CONVERSATION_NOT_FOUND"
    category = "conversation"

    def __init__(self, name: str) -> None:
        super().__init__(f"failed finding conversation component {name}")


class ConversationWithoutInputs(DaprError):
    """Nothing is said to the model."""

    status = 400
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_CONVERSATION_MISSING_INPUTS"
    category = "conversation"

    def __init__(self, name: str) -> None:
        super().__init__(f"failed conversing with component {name}: missing inputs in request")


class ConversationInvalid(DaprError):
    """What is said to the model cannot be said to it."""

    status = 400
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_CONVERSATION_INVALID_PARMS"
    category = "conversation"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"failed conversing with component {name}: invalid params: {reason}")


class ConversationFailed(DaprError):
    """The model did not answer."""

    code = "ERR_CONVERSATION_INVOKE"
    category = "conversation"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"failed conversing with component {name}: {reason}")


class AboutActors(DaprError):
    """Something about actors."""

    category = "actor"


class ActorsNotPlaced(AboutActors):
    """There is no placement service, so there are no actors."""

    status = 400
    grpc = Code.UNAVAILABLE
    code = "ERR_ACTOR_NO_PLACEMENT"

    def __init__(self) -> None:
        super().__init__("placement service is not configured")


class ActorRuntimeNotFound(AboutActors):
    """No state store keeps the state of actors."""

    code = "ERR_ACTOR_RUNTIME_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__(
            "the state store is not configured to use the actor runtime. Have you set the - name: actorStateStore "
            'value: "true" in your state store component file?'
        )


class ActorRuntimeClosed(AboutActors):
    """The sidecar is about to end, or was not ready for actors in time."""

    status = 503
    grpc = Code.UNAVAILABLE
    code = "ERR_ACTOR_RUNTIME_CLOSED"

    def __init__(self, message: str = "actor runtime is closed") -> None:
        super().__init__(message)


class ActorInstanceMissing(AboutActors):
    """State is to be written for an actor that does not live here at the moment."""

    status = 400
    code = "ERR_ACTOR_INSTANCE_MISSING"

    def __init__(self) -> None:
        super().__init__("actor instance is missing")


class ActorInvokeFailed(AboutActors):
    """The method of an actor failed, or could not be called."""

    code = "ERR_ACTOR_INVOKE_METHOD"

    def __init__(self, reason: str) -> None:
        super().__init__(f"error invoke actor method: {reason}")


class NoAddress(ActorInvokeFailed):
    """Nobody hosts the type of an actor. Only the gRPC face has a code for it, as with the original."""

    def __init__(self, actor_type: str, actor_id: str) -> None:
        missing = f"did not find address for actor '{actor_type}/{actor_id}'"
        self.reason = f"failed to lookup actor: api error: code = FailedPrecondition desc = {missing}"
        super().__init__(self.reason)

    def for_grpc(self) -> DaprError:
        error = AboutActors(self.reason)
        error.grpc, error.code = Code.FAILED_PRECONDITION, "ERR_ACTOR_NO_ADDRESS"
        return error


class ActorStackTooDeep(AboutActors):
    """Calls of an actor have led to calls of it, and so on, as often as they may."""

    grpc = Code.RESOURCE_EXHAUSTED
    code = "ERR_ACTOR_STACK_DEPTH"

    def __init__(self) -> None:
        super().__init__("maximum stack depth exceeded")


class ActorTypeReserved(AboutActors):
    """The type is one that only workflows may use."""

    status = 403
    grpc = Code.PERMISSION_DENIED
    code = "ERR_ACTOR_TYPE_RESERVED"

    def __init__(self, actor_type: str) -> None:
        super().__init__(
            f'actor type "{actor_type}" is reserved for the Dapr workflow runtime; direct actor API access is not '
            "permitted"
        )


class ActorStateGetFailed(AboutActors):
    """The state of an actor could not be read."""

    code = "ERR_ACTOR_STATE_GET"

    def __init__(self, reason: str) -> None:
        super().__init__(f"error getting actor state: {reason}")


class ActorStateSaveFailed(AboutActors):
    """The state of an actor could not be written; nothing of it was."""

    code = "ERR_ACTOR_STATE_TRANSACTION_SAVE"

    def __init__(self, reason: str) -> None:
        super().__init__(f"error saving actor transaction state: {reason}")


class AboutJobs(DaprError):
    """Something about jobs. The code, of which `what` is the end, is also the reason that the details tell."""

    category = "job"

    def __init__(self, what: str, message: str, about: Mapping[str, str]) -> None:
        super().__init__(message)
        self.code = f"DAPR_SCHEDULER_{what}"
        self.details = Details(self.code, dict(about))


class JobIncomplete(AboutJobs):
    """A job lacks what it needs, or says it in the wrong place."""

    status = 400
    grpc = Code.INVALID_ARGUMENT


class JobFailed(AboutJobs):
    """The scheduler did not do what it was asked to, or there is none."""

    def __init__(
        self,
        what: str,
        message: str,
        about: Mapping[str, str],
        status: int = 500,
        grpc: Code = Code.INTERNAL,
    ) -> None:
        super().__init__(what, message, about)
        self.status, self.grpc = status, grpc
