"""Spans to Zipkin, in the JSON of its API v2 (`spec.tracing.zipkin.endpointAddress`). Opened by `daprd.tracing`.

What becomes of a span there is what the original's exporter makes of it (OpenTelemetry for Go, v1.18.3 of Dapr):
names in lower case, attributes and those of the resource as tags.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit, urlunsplit

from pydapr.lib import urls
from pydapr.net import dial
from pydapr.net.body import Body, BodyError
from pydapr.net.pool import Pool, Unreachable
from pydapr.observe.tracing import CLIENT, CONSUMER, INTERNAL, PRODUCER, SERVER, Span
from pydapr.observe.tracing_batches import Failed

SCOPE = "dapr-diagnostics"
TIMEOUT = 10.0
LONGEST_ANSWER = 1 << 20
AT_A_TIME = 64
"""Spans that are put into words before others get their turn."""

_KINDS = {SERVER: "SERVER", CLIENT: "CLIENT", PRODUCER: "PRODUCER", CONSUMER: "CONSUMER", INTERNAL: ""}
_REMOTE = ("server.address", "net.peer.name", "db.name")
"""Attributes that name the other side, the best first."""


class Zipkin:
    """Posts spans to `url`. Raises `ValueError` when that is none; it says nothing of it, which may have a key.

    `resource` describes the sidecar.
    """

    def __init__(self, url: str, resource: Mapping[str, str]) -> None:
        try:
            host, port, with_tls, _ = dial.parse_url(url)
        except ValueError:
            raise ValueError("it is no http or https URL with a host") from None
        parts = urlsplit(url)
        self._host = (f"[{host}]" if ":" in host else host) + f":{port}"
        self._path = urlunsplit(("", "", parts.path or "/", parts.query, "")).encode()
        user, at, _ = parts.netloc.rpartition("@")
        self._user = ((b"authorization", urls.authorization(user).encode()),) if at else ()
        self._resource = {key: value for key, value in resource.items()}
        self._service = resource.get("service.name", "")
        self._pool = Pool(dial.to(host, port, with_tls))

    async def export(self, spans: Sequence[Span]) -> None:
        told = []
        for count, span in enumerate(spans, 1):
            told.append(json.dumps(self._say(span), separators=(",", ":"), ensure_ascii=False))
            if not count % AT_A_TIME:
                await asyncio.sleep(0)
        data = f"[{','.join(told)}]".encode("utf-8", "replace")
        headers = [
            (b"host", self._host.encode()),
            *self._user,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(data)),
        ]
        try:
            async with asyncio.timeout(TIMEOUT):
                response = await self._pool.request(b"POST", self._path, headers, Body.of(data))
                try:
                    await response.body.read_all(LONGEST_ANSWER)
                finally:
                    response.close()
        except TimeoutError:
            raise Failed(f"zipkin at {self._host} did not answer within {TIMEOUT:g} s") from None
        except (Unreachable, BodyError) as error:
            raise Failed(f"failed to send spans to zipkin at {self._host}: {error}") from None
        if not 200 <= response.status < 300:
            raise Failed(f"failed to send spans to zipkin server with status {response.status}")

    def _say(self, span: Span) -> dict[str, object]:
        text = span.traceparent.decode()
        attributes = dict(span.attributes())
        tags = {**attributes, **self._resource, "otel.scope.name": SCOPE}
        if span.failure is not None:
            tags |= {"otel.status_code": "ERROR", "error": span.failure}
        out: dict[str, object] = {"traceId": text[3:35], "id": text[36:52], "name": span.name.lower()}
        if span.parent:
            out["parentId"] = span.parent.decode()
        if _KINDS[span.kind]:
            out["kind"] = _KINDS[span.kind]
        out["timestamp"] = span.began // 1000
        out["duration"] = max((span.ended - span.began) // 1000, 1)
        out["localEndpoint"] = {"serviceName": self._service}
        if span.kind in (CLIENT, PRODUCER):
            remote = next((attributes[key] for key in _REMOTE if attributes.get(key)), "")
            if remote:
                out["remoteEndpoint"] = {"serviceName": remote}
        out["tags"] = tags
        return out

    def hurry(self) -> None:
        pass

    def close(self) -> None:
        self._pool.close()
