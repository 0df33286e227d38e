"""Under which keys jobs stand, and which names they may have.

Pure. Layout, rules and words are the original's (v1.18.3, `pkg/scheduler/server/internal/serialize`), so that either
finds what the other has kept.
"""

import re

from pydapr.lib import quote
from pydapr.proto.dapr.proto.scheduler.v1 import scheduler_pb2

JOBS = "dapr/jobs/"
COUNTERS = "dapr/counters/"

MOST_BYTES = 512
"""Of a full name."""

_UNSAFE = re.compile(r"[/\\#?]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


class Wrong(Exception):
    """There can be no such job; the message says why."""


def name_prefix(metadata: scheduler_pb2.JobMetadata) -> str:
    """What the full names of the jobs of one app, or of one actor, begin with. Raises `Wrong`."""
    target = metadata.target
    kind = target.WhichOneof("type")
    if kind == "actor":
        return f"actorreminder||{metadata.namespace}||{target.actor.type}||{target.actor.id}||"
    if kind == "job":
        return f"app||{metadata.namespace}||{metadata.app_id}||"
    raise Wrong(_unknown(metadata))


def query_prefix(metadata: scheduler_pb2.JobMetadata, is_open: bool = False) -> str:
    """What the full names of jobs that are asked for together begin with: those of an app, of an actor, or, without
    an id, of all actors of a type. With `is_open` the last part is only how it begins. Raises `Wrong`."""
    actor = metadata.target.actor
    if metadata.target.WhichOneof("type") == "actor" and not actor.id:
        prefix = f"actorreminder||{metadata.namespace}||{actor.type}||"
    else:
        prefix = name_prefix(metadata)
    return prefix[:-2] if is_open else prefix


def own_name(name: str, metadata: scheduler_pb2.JobMetadata) -> str:
    """The name that an app has given, within a full name. Raises `Wrong`."""
    prefix = name_prefix(metadata)
    if not name.startswith(prefix):
        raise Wrong(f'job key "{name}" does not match expected prefix "{prefix}" from its metadata')
    return name[len(prefix) :]


def check(name: str) -> None:
    """Whether there may be a job with this full name. Raises `Wrong`."""
    if len(name) > MOST_BYTES or len(name.encode("utf-8", "surrogateescape")) > MOST_BYTES:
        raise Wrong(f"job name is invalid {quote.go(name)}: must be at most {MOST_BYTES} characters")
    if _UNSAFE.search(name):
        raise Wrong(f"job name is invalid {quote.go(name)}: must not contain '/', '\\', '#' or '?'")
    if _CONTROL.search(name):
        raise Wrong(f"job name is invalid {quote.go(name)}: must not contain control characters")


def counter_key(job_key: str) -> str:
    """Where the counter of a job stands."""
    return COUNTERS + job_key[len(JOBS) :]


def _unknown(metadata: scheduler_pb2.JobMetadata) -> str:
    return "unknown job type: " + ("" if metadata.HasField("target") else "<nil>")
