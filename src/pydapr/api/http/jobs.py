"""The jobs API over HTTP. Called by the router; asks `blocks.jobs`.

Bodies are the messages of gRPC in protobuf's form of JSON, as in the original, with any JSON as data.
"""

import json
from typing import TYPE_CHECKING

from pydapr.api.http import protojson
from pydapr.api.http.errors import JSON
from pydapr.blocks.jobs import Jobs
from pydapr.errors import Internal
from pydapr.lib import urls
from pydapr.lib.actors import Packed
from pydapr.net.exchange import Exchange
from pydapr.peers.scheduling import Job

if TYPE_CHECKING:
    from pydapr.proto.dapr.proto.internals.v1 import jobs_pb2

PREFIXES = (b"/v1.0/jobs/", b"/v1.0-alpha1/jobs/")


class JobsApi:
    """Answers POST, GET and DELETE of `/v1.0/jobs/<name>`, and of `alpha1`."""

    def __init__(self, jobs: Jobs, max_body: int) -> None:
        self._jobs = jobs
        self._max_body = max_body

    async def schedule(self, exchange: Exchange) -> None:
        """Keeps a job."""
        from pydapr.proto.dapr.proto.internals.v1 import jobs_pb2

        asked = await protojson.read(exchange, jobs_pb2.JobHTTPRequest(), self._max_body)
        if asked.name:
            self._jobs.refuse_name()
        await self._jobs.schedule(_name(exchange).strip(), _job(asked), asked.overwrite)
        exchange.respond(204, ())

    async def get(self, exchange: Exchange) -> None:
        """A job as it was given."""
        name = _name(exchange)
        job = await self._jobs.get(name)
        from google.protobuf import json_format

        from pydapr.api import jobs

        _know_data()
        try:
            document = json_format.MessageToDict(jobs.message(name, job))
        except (TypeError, ValueError) as error:
            raise Internal(f"the data of job {name} cannot be shown as JSON: {error}") from None
        exchange.respond(200, JSON, json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode())

    async def delete(self, exchange: Exchange) -> None:
        """Forgets a job."""
        await self._jobs.delete(_name(exchange))
        exchange.respond(204, ())


def _know_data() -> None:
    """Data are of any type that is known: protobuf's own besides ours."""
    from google.protobuf import (  # noqa: F401
        duration_pb2,
        empty_pb2,
        field_mask_pb2,
        struct_pb2,
        timestamp_pb2,
        wrappers_pb2,
    )


def _name(exchange: Exchange) -> str:
    prefix = next(prefix for prefix in PREFIXES if exchange.target.startswith(prefix))
    return urls.segments(exchange.target, prefix)[0]


def _job(asked: "jobs_pb2.JobHTTPRequest") -> Job:
    from pydapr.api import jobs

    data = None
    if asked.HasField("data"):
        data = Packed("type.googleapis.com/google.protobuf.Value", asked.data.SerializeToString(deterministic=True))
    return jobs.job(asked, data)
