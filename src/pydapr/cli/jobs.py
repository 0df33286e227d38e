"""Jobs and reminders as `dapr scheduler` names and shows them.

Pure: from the keys and messages of the scheduler's store to names such as `app/orders/nightly`, and back.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from pydapr.proto.dapr.proto.scheduler.v1 import scheduler_pb2
from pydapr.proto.etcd import cron_pb2

JOBS, COUNTERS = "dapr/jobs/", "dapr/counters/"
FILTERS = ("all", "app", "actor", "workflow", "activity")

_INTERNAL = "dapr.internal."


class Wrong(ValueError):
    """A name or a stored job makes no sense; the message says why."""


class Job(NamedTuple):
    """One job or reminder; times in seconds of UTC, None where there is none."""

    kind: str
    namespace: str
    name: str
    begin: datetime
    expiration: datetime | None
    schedule: str | None
    due_time: str | None
    ttl: str | None
    repeats: int | None
    triggers: int
    last_trigger: datetime | None


def read(key: str, stored: bytes, counter: bytes | None) -> Job:
    """Raises `Wrong`."""
    metadata = scheduler_pb2.JobMetadata()
    try:
        kept = cron_pb2.StoredJob.FromString(stored)
        counted = cron_pb2.Counter.FromString(counter or b"")
        is_job = kept.job.metadata.Unpack(metadata)
    except DecodeError as error:
        raise Wrong(f"failed to read {key}: {error}") from None
    if not is_job:
        raise Wrong(f"failed to read {key}: {kept.job.metadata.type_url or 'nothing'} is no metadata of a job")
    kind, name = _name(metadata, key.rpartition("||")[2])
    job = kept.job
    return Job(
        kind=kind,
        namespace=metadata.namespace,
        name=name,
        begin=_moment(kept.due_time if kept.HasField("due_time") else kept.start),
        expiration=_moment(kept.expiration) if kept.HasField("expiration") else None,
        schedule=job.schedule if job.HasField("schedule") else None,
        due_time=job.due_time if job.HasField("due_time") else None,
        ttl=job.ttl if job.HasField("ttl") else None,
        repeats=job.repeats if job.HasField("repeats") else None,
        triggers=counted.count,
        last_trigger=_moment(counted.last_trigger) if counted.HasField("last_trigger") else None,
    )


def select(stored: Mapping[str, bytes], counters: Mapping[str, bytes], namespace: str, wanted: str) -> Iterable[Job]:
    """The jobs of a namespace and kind, in the order in which they begin. Raises `Wrong`."""
    all_ = (read(key, value, counters.get(key.replace(JOBS, COUNTERS, 1))) for key, value in stored.items())
    found = (job for job in all_ if job.namespace == namespace and wanted in ("all", job.kind))
    return sorted(found, key=lambda job: (job.begin, job.name))


def _moment(at: Timestamp) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at.seconds)


def _name(metadata: scheduler_pb2.JobMetadata, last: str) -> tuple[str, str]:
    """The kind of a job, and its name."""
    if metadata.target.WhichOneof("type") != "actor":
        return "app", f"app/{metadata.app_id}/{last}"
    actor = metadata.target.actor
    words = actor.type.split(".")
    if actor.type.startswith(_INTERNAL) and len(words) > 4 and words[-1] in ("workflow", "activity"):
        name = f"{words[-1]}/{'.'.join(words[3:-1])}/{actor.id}"
        return words[-1], name if words[-1] == "activity" else f"{name}/{last}"
    return "actor", f"actor/{actor.type}/{actor.id}/{last}"


def key(name: str, namespace: str) -> str:
    """What stands behind `JOBS` and `COUNTERS` for a name. Raises `Wrong`."""
    kind, *words = name.split("/")
    if not words:
        raise Wrong(f"failed to parse job key, expecting '{{target type}}/{{identifier}}', got '{name}'")
    match kind, words:
        case "app", [app, job]:
            return f"app||{namespace}||{app}||{job}"
        case "actor", [type_, id_, reminder]:
            return _reminder(namespace, type_, id_, reminder)
        case "workflow", [app, instance, reminder]:
            return _reminder(namespace, f"{_INTERNAL}{namespace}.{app}.workflow", instance, reminder)
        case "activity", [app, id_]:
            return _reminder(namespace, f"{_INTERNAL}{namespace}.{app}.activity", id_, "run-activity")
    if kind in _FORMS:
        raise Wrong(f"expecting {_FORMS[kind]}, got '{name}'")
    raise Wrong(f"unsupported job type '{kind}', accepts 'app', 'actor', 'workflow', or 'activity'")


_FORMS = {
    "app": "job key to be in format 'app/{app ID}/{job name}'",
    "actor": "actor reminder key to be in format 'actor/{actor type}/{actor id}/{name}'",
    "workflow": "workflow key to be in format 'workflow/{app ID}/{instance ID}/{name}'",
    "activity": "activity key to be in format 'activity/{app ID}/{activity ID}'",
}


def _reminder(namespace: str, type_: str, id_: str, name: str) -> str:
    return f"actorreminder||{namespace}||{type_}||{id_}||{name}"


def prefixes(name: str, namespace: str) -> list[str]:
    """What stands behind `JOBS` and `COUNTERS` for all that `delete-all` is told. Raises `Wrong`."""
    reminders = f"actorreminder||{namespace}||"
    internal = f"{reminders}{_INTERNAL}{namespace}."
    match name.split("/"):
        case ["all"]:
            return [f"app||{namespace}||", reminders]
        case ["app"]:
            return [f"app||{namespace}||"]
        case ["app", app]:
            return [f"app||{namespace}||{app}||"]
        case ["actor", type_]:
            return [f"{reminders}{type_}||"]
        case ["actor", type_, id_]:
            return [f"{reminders}{type_}||{id_}||"]
        case ["workflow"]:
            return [internal]
        case ["workflow", app]:
            return [f"{internal}{app}.workflow||", f"{internal}{app}.activity||"]
        case ["workflow", app, instance]:
            return [f"{internal}{app}.workflow||{instance}||", f"{internal}{app}.activity||{instance}::"]
        case ["all" | "app" | "actor" | "workflow", *_]:
            raise Wrong(f"invalid key format: {name}")
        case [kind, *_]:
            raise Wrong(f"unknown key prefix: {kind}")
    return []


def human(seconds: float) -> str:
    """A time span in its largest unit, as the original shows it."""
    if seconds == 0:
        return ""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f}µs"
    if seconds < 1:
        return f"{seconds * 1e3:.1f}ms"
    if seconds < 60:
        return f"{seconds:.2f}s"
    return f"{seconds / 60:.1f}m" if seconds < 3600 else f"{seconds / 3600:.1f}h"
