"""bindings.graphql asks a GraphQL server: a `query` or a `mutation`, which stands in the metadata by its name.

There, `variable:name` is a variable, a text, and `header:Name` a header field, as it is in the component's metadata.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from pydapr.components import Wrong, component, option, options
from pydapr.components.bindings import Answer, BindingError, OutputBinding, Request
from pydapr.components.drivers.sql_bindings import stamp
from pydapr.lib import durations
from pydapr.net import http

SECONDS = 600.0
"""How long an answer may take."""

MOST = 100 << 20
"""Bytes of an answer."""

_HEADER, _VARIABLE = "header:", "variable:"
_JSON = "application/json; charset=utf-8"


@options
class Options:
    endpoint: str = option("The server's URL.", default="")
    headers: Mapping[str, str] = option(
        "`header:Name`: header fields of each request.", default_factory=dict, takes_rest=True
    )


@component("bindings.graphql", Options)
class GraphQL(OutputBinding):
    operations = ("query", "mutation")

    def __init__(self, given: Options) -> None:
        if not given.endpoint:
            raise Wrong("GraphQL Error: Missing GraphQL URL")
        self._url = given.endpoint
        self._headers = _named(_HEADER, given.headers)
        self._client: http.Client | None = None

    async def open(self) -> None:
        self._client = http.Client(most=MOST)

    async def close(self) -> None:
        if self._client is not None:
            self._client.close()

    async def invoke(self, request: Request) -> Answer:
        began = datetime.now(UTC)
        text = _command(request)
        variables = _named(_VARIABLE, request.metadata)
        body = json.dumps({"query": text, "variables": variables or None}, ensure_ascii=False)
        fields = {
            "content-type": _JSON,
            "accept": _JSON,
            **_lower(self._headers),
            **_lower(_named(_HEADER, request.metadata)),
        }
        assert self._client is not None
        try:
            answer = await self._client.request("POST", self._url, fields, body.encode("utf-8", "replace"), SECONDS)
        except (OSError, ValueError) as error:
            raise BindingError(f"GraphQL Error: {error}") from None
        data = _data(answer)
        ended = datetime.now(UTC)
        told = {
            "operation": request.operation,
            "start-time": stamp(began),
            "end-time": stamp(ended),
            "duration": durations.text((ended - began).total_seconds()),
        }
        return Answer(data, told)


def _command(request: Request) -> str:
    text = request.metadata.get(request.operation, "").strip()
    if not text:
        raise BindingError(f'GraphQL Error: required "{request.operation}" not set')
    if re.match(rf"{request.operation}\b", text) is None:
        raise BindingError(f"GraphQL Error: command is not a {request.operation}")
    return text


def _data(answer: http.Answer) -> bytes:
    """What the server has found. Raises `BindingError`."""
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        if answer.status != 200:
            text = f"graphql: server returned a non-200 status code: {answer.status}"
            raise BindingError(f"GraphQL Error: {text}") from None
        raise BindingError(f"GraphQL Error: decoding response: {error}") from None
    found = document if isinstance(document, dict) else {}
    errors = found.get("errors")
    if isinstance(errors, list) and errors:
        first = errors[0] if isinstance(errors[0], dict) else {}
        raise BindingError(f"GraphQL Error: graphql: {first.get('message', '')}")
    if "data" not in found and answer.status != 200:
        raise BindingError(f"GraphQL Error: graphql: server returned a non-200 status code: {answer.status}")
    return json.dumps(found.get("data"), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _named(prefix: str, given: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(prefix): value for name, value in given.items() if name.startswith(prefix)}


def _lower(fields: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in fields.items()}
