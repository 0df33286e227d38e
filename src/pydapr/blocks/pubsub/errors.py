"""What can go wrong with publishing, as the API answers it. Codes and words are the original's (v1.18.3,
`pkg/api/errors/pubsub.go`)."""

from collections.abc import Mapping

from pydapr.errors import Code, DaprError, Details


class AboutPubSub(DaprError):
    """Something about a broker, or about one of its topics; `told` is what the details say besides."""

    category = "pubsub"
    reason = ""

    def __init__(self, message: str, pubsub: str, told: Mapping[str, str]) -> None:
        super().__init__(message)
        self.details = Details(self.reason, dict(told), ("pubsub", pubsub), description=message)


class PubSubNotFound(DaprError):
    """There is no broker of this name. The HTTP face tells the metadata of the request, too."""

    status = 404
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_PUBSUB_NOT_FOUND"
    category = "pubsub"

    def __init__(self, name: str, metadata: Mapping[str, str]) -> None:
        super().__init__(f"pubsub {name} is not found")
        self.details = Details("DAPR_PUBSUB_NOT_FOUND", dict(metadata))

    def for_grpc(self) -> DaprError:
        if self.details is not None:
            self.details.metadata = None
        return self


class NameEmpty(AboutPubSub):
    """The request names no broker."""

    status = 404
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_PUBSUB_EMPTY"
    reason = "DAPR_PUBSUB_NAME_EMPTY"

    def __init__(self, metadata: Mapping[str, str]) -> None:
        super().__init__("pubsub name is empty", "", metadata)


class TopicEmpty(AboutPubSub):
    """The request names no topic."""

    status = 404
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_TOPIC_NAME_EMPTY"
    reason = "DAPR_PUBSUB_TOPIC_NAME_EMPTY"

    def __init__(self, pubsub: str, metadata: Mapping[str, str]) -> None:
        super().__init__(f"topic is empty in pubsub {pubsub}", pubsub, metadata)


class MetadataInvalid(AboutPubSub):
    """The metadata of a request say what cannot be followed."""

    status = 400
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_PUBSUB_REQUEST_METADATA"
    reason = "DAPR_PUBSUB_METADATA_DESERIALIZATION"

    def __init__(self, pubsub: str, fault: str, metadata: Mapping[str, str]) -> None:
        super().__init__(f"failed deserializing metadata. Error: {fault}", pubsub, metadata)


class NoCloudEvent(AboutPubSub):
    """What is said to be a CloudEvent is none."""

    grpc = Code.INVALID_ARGUMENT
    code = "ERR_PUBSUB_CLOUD_EVENTS_SER"
    reason = "DAPR_PUBSUB_CLOUD_EVENT_CREATION"

    def __init__(self, pubsub: str, app_id: str, fault: str) -> None:
        super().__init__("cannot create cloudevent", pubsub, {"appID": app_id, "error": fault})


class EventsUnreadable(AboutPubSub):
    """The body of a bulk request is not what it should be."""

    status = 400
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_PUBSUB_EVENTS_SER"
    reason = "DAPR_PUBSUB_UNMARSHAL_EVENTS"

    def __init__(self, pubsub: str, topic: str, app_id: str, fault: str) -> None:
        text = f"error when unmarshaling the request for topic {topic} pubsub {pubsub}: {fault}"
        super().__init__(text, pubsub, {"appID": app_id})


class EventUnfit(AboutPubSub):
    """An event of a bulk request does not fit its content type."""

    status = 400
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_PUBSUB_EVENTS_SER"
    reason = "DAPR_PUBSUB_MARSHAL_ENVELOPE"

    def __init__(self, pubsub: str, topic: str, app_id: str, fault: str) -> None:
        text = f"error when marshalling cloud event envelope for topic {topic} pubsub {pubsub}: {fault}"
        super().__init__(text, pubsub, {"appID": app_id, "error": fault})


class EntryIdInvalid(AboutPubSub):
    """An entry of a bulk request has no id, or that of another."""

    status = 400
    grpc = Code.INVALID_ARGUMENT
    code = "ERR_PUBSUB_EVENTS_SER"
    reason = "DAPR_PUBSUB_MARSHAL_EVENTS"

    def __init__(self, pubsub: str, topic: str, app_id: str) -> None:
        fault = "entryId is duplicated or not present for entry"
        text = f"error marshaling events to bytes for topic {topic} pubsub {pubsub}. error: {fault}"
        super().__init__(text, pubsub, {"appID": app_id, "error": fault})


class Forbidden(AboutPubSub):
    """The app may not publish to this topic."""

    status = 403
    grpc = Code.PERMISSION_DENIED
    code = "ERR_PUBSUB_FORBIDDEN"
    reason = "DAPR_PUBSUB_FORBIDDEN"

    def __init__(self, pubsub: str, topic: str, app_id: str) -> None:
        text = f"topic {topic} is not allowed for app id {app_id}"
        super().__init__(text, pubsub, {"error": text, "topic": topic})


class PublishFailed(AboutPubSub):
    """The broker does not have the message, or it is not known whether it has. `fault` is the broker's word."""

    code = "ERR_PUBSUB_PUBLISH_MESSAGE"
    reason = "DAPR_PUBSUB_PUBLISH_MESSAGE"

    def __init__(self, pubsub: str, topic: str, fault: str) -> None:
        text = f"error when publishing to topic {topic} in pubsub {pubsub}: {fault}"
        super().__init__(text, pubsub, {"error": fault, "topic": topic})
        self.fault = fault


class BulkFailed(PublishFailed):
    """Of many messages the broker does not have those whose ids are in `failed`, each with the reason."""

    def __init__(self, pubsub: str, topic: str, fault: str, failed: Mapping[str, str]) -> None:
        super().__init__(pubsub, topic, fault)
        self.failed = failed


class CannotBrowse(AboutPubSub):
    """The broker cannot show what is in a topic, or not now."""

    code = "ERR_PUBSUB_BROWSE"
    reason = "DAPR_PUBSUB_BROWSE"

    def __init__(self, pubsub: str, topic: str, fault: str, *, is_able: bool) -> None:
        super().__init__(f"error when browsing topic {topic} in pubsub {pubsub}: {fault}", pubsub, {"topic": topic})
        if not is_able:
            self.status, self.grpc = 501, Code.UNIMPLEMENTED


class OutboxFailed(DaprError):
    """The messages of a state transaction could not be put aside; the transaction was not begun."""

    code = "ERR_PUBLISH_OUTBOX"
    category = "pubsub"

    def __init__(self, app_id: str, fault: str) -> None:
        super().__init__(f"error while publishing outbox message: {fault}")
        self.details = Details("DAPR_PUBSUB_OUTBOX", {"appID": app_id, "error": fault})
