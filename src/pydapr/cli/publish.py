"""`dapr publish`: publish an event through the sidecar of an app.

Flags, content types and messages are the original's (its command line, `cmd/publish.go`).
"""

import sys
from typing import TYPE_CHECKING

from pydapr.cli import grammar, sidecars, status

if TYPE_CHECKING:
    from pydapr.cli.sidecar_api import Answer

FLAGS = (
    grammar.Flag("publish-app-id", "The ID of the publishing app", short="i", required=True),
    grammar.Flag("pubsub", "The name of the pub/sub component", short="p", required=True),
    grammar.Flag("topic", "The topic to be published to", short="t", required=True),
    grammar.Flag("data", "The JSON serialized data string (optional)", short="d"),
    grammar.Flag("data-file", "A file containing the JSON serialized data (optional)", short="f"),
    grammar.Flag("metadata", "The JSON serialized publish metadata (optional)", short="m"),
    grammar.Flag(
        "unix-domain-socket",
        "Path to a unix domain socket dir. If specified, Dapr API servers will use Unix Domain Sockets",
        short="u",
    ),
)

EXAMPLE = """\
# Publish to the topic sample of the broker pubsub, as the app orders
dapr publish --publish-app-id orders --pubsub pubsub --topic sample --data '{"id":42}'

# Publish a CloudEvent
dapr publish -i orders -p pubsub -t sample \\
  -d '{"id":"1","source":"me","specversion":"1.0","type":"sample","data":{"id":42}}'

# Publish what ends within ten seconds
dapr publish -i orders -p pubsub -t sample -d '{"id":42}' --metadata '{"ttlInSeconds":"10"}'
"""

_EVENT = frozenset({"id", "source", "specversion", "type", "data"})
"""What a document has that is sent as a CloudEvent."""


def run(values: grammar.Values, _: list[str]) -> int:
    from pydapr.cli import payload

    topic = values.text("topic")
    body = payload.read(values, "publish")
    if body is None:
        return 1
    try:
        query = _query(values.text("metadata"))
    except ValueError as wrong:
        status.failure(f"Error parsing metadata as JSON. Error: {wrong}")
        return 1
    if values.text("unix-domain-socket"):
        status.warning("Unix domain sockets are currently a preview feature")
    try:
        _publish(values, body, query)
    except (OSError, ValueError) as wrong:
        status.failure(f"Error publishing topic {topic}: {wrong}")
        return 1
    sys.stdout.flush()
    status.success("Event published successfully")
    return 0


def _query(metadata: str) -> str:
    """The query that has the metadata, "" without any. Raises `ValueError`."""
    if not metadata:
        return ""
    import json
    from urllib.parse import urlencode

    given = json.loads(metadata)
    if not isinstance(given, dict):
        raise ValueError("an object is wanted")
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
    return "?" + urlencode({f"metadata.{name}": text for name, text in texts.items()}) if texts else ""


def _publish(values: grammar.Values, body: bytes, query: str) -> None:
    """Raises `OSError`, `ValueError`."""
    from urllib.parse import quote

    from pydapr.cli import address, sidecar_api

    app_id, pubsub, topic = values.text("publish-app-id"), values.text("pubsub"), values.text("topic")
    sidecar = next((one for one in sidecars.find() if one.app_id == app_id), None)
    if sidecar is None:
        raise ValueError(f"couldn't find a running Dapr instance of app ID {app_id}")
    directory = values.text("unix-domain-socket") or sidecar.socket_directory
    path = address.socket_path(directory, app_id, "http") if directory else ""
    answer = sidecar_api.request(
        address.Address(sidecar.http_port, path),
        "POST",
        f"/v1.0/publish/{quote(pubsub, safe='')}/{quote(topic)}{query}",
        body,
        "application/cloudevents+json" if _is_event(body) else "application/json",
    )
    if not 200 <= answer.status < 300:
        raise ValueError(
            f"unexpected status code {answer.status} on publishing to {topic} in {pubsub}{_reason(answer)}"
        )  # fmt: skip


def _is_event(body: bytes) -> bool:
    import json

    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.keys() >= _EVENT


def _reason(answer: "Answer") -> str:
    """What the sidecar says is wrong, behind a colon; "" if it says nothing."""
    import json

    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return ""
    message = document.get("message") if isinstance(document, dict) else None
    return f": {message}" if isinstance(message, str) else ""
