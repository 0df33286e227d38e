"""What a scheduler is told and tells, between plain values (`peers.scheduling`) and `dapr.proto.scheduler.v1`. Pure.

Written and read by hand like `wire.invocation`: a sidecar needs no protobuf library to have jobs and reminders, and
those that are due are many. Used by `peers.scheduler` and `peers.job_streams`, and by the faces for failure policies.
"""

from collections.abc import Sequence

from pydapr.lib.actors import Packed
from pydapr.peers.scheduling import Due, FailurePolicy, Job, NamedJob, Owner
from pydapr.wire.invocation import Invalid, field, fields, given_text, octets, signed, text, text_field, varint

__all__ = [
    "Invalid",
    "by_metadata",
    "by_name",
    "due",
    "hosts",
    "initial",
    "job",
    "job_message",
    "jobs",
    "kept",
    "metadata",
    "policy",
    "policy_message",
    "result",
    "schedule",
]  # fmt: skip

_NANOS = 1_000_000_000
_MOST_SECONDS = (1 << 63) - 1
_MOST = (1 << 64) - 1

_FOR_APP = b"\x1a\x02\x0a\x00"
"""The target of a job of the app itself, in a JobMetadata."""

_DROP = b"\x0a\x00"


# -- writing --


def schedule(name: str, job: Job, whose: bytes, overwrite: bool) -> bytes:
    """A ScheduleJobRequest. `whose` is `metadata`."""
    out = text_field(b"\x0a", name) + field(b"\x12", job_message(job)) + field(b"\x1a", whose)
    return out + b"\x20\x01" if overwrite else out


def by_name(name: str, whose: bytes) -> bytes:
    """A GetJobRequest, a DeleteJobRequest, or a DeleteByNamePrefixRequest: they are the same."""
    return text_field(b"\x0a", name) + field(b"\x12", whose)


def by_metadata(whose: bytes, id_is_prefix: bool = False) -> bytes:
    """A ListJobsRequest, or a DeleteByMetadataRequest, which alone may take an id for how ids begin."""
    out = field(b"\x0a", whose)
    return out + b"\x10\x01" if id_is_prefix else out


def initial(app_id: str, namespace: str, takes_jobs: bool, actor_types: Sequence[str]) -> bytes:
    """The WatchJobsRequest that a stream begins with: who takes what."""
    out = text_field(b"\x0a", app_id) + text_field(b"\x12", namespace)
    out += b"".join([given_text(b"\x1a", one) for one in actor_types])
    accepted = (b"\x00" if takes_jobs else b"") + (b"\x01" if actor_types else b"")
    return field(b"\x0a", out + field(b"\x22", accepted) if accepted else out)


def result(number: int, is_success: bool) -> bytes:
    """The WatchJobsRequest that says what became of the message with this number."""
    out = b"\x08" + varint(number) if number else b""
    return field(b"\x12", out if is_success else out + b"\x10\x01")


def metadata(app_id: str, namespace: str, owner: Owner | None, concurrency_key: str | None = None) -> bytes:
    """A JobMetadata: whose job it is."""
    out = text_field(b"\x0a", app_id) + text_field(b"\x12", namespace)
    if owner is None:
        out += _FOR_APP
    else:
        actor = text_field(b"\x0a", owner.actor_id) + text_field(b"\x12", owner.actor_type)
        out += field(b"\x1a", field(b"\x12", actor))
    return out + _given(b"\x22", concurrency_key)


def job_message(job: Job) -> bytes:
    """A job to be kept."""
    out = _given(b"\x0a", job.schedule)
    if job.repeats is not None:
        out += b"\x10" + varint(job.repeats & 0xFFFF_FFFF)
    out += _given(b"\x1a", job.due_time) + _given(b"\x22", job.ttl)
    if job.data is not None:
        value = job.data.value
        out += field(b"\x2a", text_field(b"\x0a", job.data.type_url) + (field(b"\x12", value) if value else b""))
    if job.failure_policy is not None:
        out += field(b"\x32", policy_message(job.failure_policy))
    return out


def policy_message(policy: FailurePolicy) -> bytes:
    """A JobFailurePolicy."""
    if policy.drops:
        return _DROP
    out = b"" if policy.interval is None else field(b"\x0a", _duration(policy.interval))
    if policy.max_retries is not None:
        out += b"\x10" + varint(policy.max_retries & 0xFFFF_FFFF)
    return field(b"\x12", out)


def _duration(interval: float) -> bytes:
    sign = -1 if interval < 0 else 1  # of both parts, or it is no duration
    seconds, nanos = divmod(round(abs(interval) * _NANOS), _NANOS)
    out = b"\x08" + varint(sign * min(seconds, _MOST_SECONDS) & _MOST) if seconds else b""
    return out + b"\x10" + varint(sign * nanos & _MOST) if nanos else out


def _given(tag: bytes, text: str | None) -> bytes:
    """A field that may be there and empty."""
    return given_text(tag, text) if text is not None else b""


# -- reading: all of it raises `Invalid` --


def hosts(data: bytes) -> list[str]:
    """The addresses of a WatchHostsResponse."""
    return [_text(octets(value), 1) for number, value in fields(data) if number == 1]


def due(data: bytes) -> tuple[int, Due | None]:
    """The number of a WatchJobsResponse, and what is due; None for what is for nobody that we know."""
    number, name, packed = 0, "", None
    is_known, owner = False, None
    for tag, value in fields(data):
        if tag == 1:
            name = text(value)
        elif tag == 2:
            number = signed(value) & _MOST
        elif tag == 3:
            packed = _packed(octets(value))
        elif tag == 4:
            is_known, owner = _target(octets(value))
    return number, Due(name, owner, packed) if is_known else None


def kept(data: bytes) -> Job:
    """The job of a GetJobResponse."""
    found = b""
    for number, value in fields(data):
        if number == 1:
            found = octets(value)
    return job(found)


def jobs(data: bytes) -> list[NamedJob]:
    """Those of a ListJobsResponse."""
    return [_named(octets(value)) for number, value in fields(data) if number == 1]


def job(data: bytes) -> Job:
    """A job as it was given."""
    texts: dict[int, str] = {}
    repeats: int | None = None
    packed: Packed | None = None
    given: FailurePolicy | None = None
    for number, value in fields(data):
        if number in (1, 3, 4):
            texts[number] = text(value)
        elif number == 2:
            repeats = signed(value) & 0xFFFF_FFFF
        elif number == 5:
            packed = _packed(octets(value))
        elif number == 6:
            given = policy(octets(value))
    return Job(texts.get(1), repeats, texts.get(3), texts.get(4), packed, given)


def policy(data: bytes) -> FailurePolicy | None:
    """None for a policy that names none, which is the scheduler's own."""
    found: FailurePolicy | None = None
    for number, value in fields(data):
        if number == 1:
            octets(value)
            found = FailurePolicy(True)
        elif number == 2:
            found = _constant(octets(value))
    return found


def _constant(data: bytes) -> FailurePolicy:
    interval: float | None = None
    retries: int | None = None
    for number, value in fields(data):
        if number == 1:
            interval = _seconds(octets(value))
        elif number == 2:
            retries = signed(value) & 0xFFFF_FFFF
    return FailurePolicy(False, interval, retries)


def _seconds(duration: bytes) -> float:
    parts = {number: signed(value) for number, value in fields(duration) if number in (1, 2)}
    return parts.get(1, 0) + parts.get(2, 0) / _NANOS


def _named(data: bytes) -> NamedJob:
    name, owner, found = "", None, b""
    for number, value in fields(data):
        if number == 1:
            name = text(value)
        elif number == 2:
            owner = _target(octets(value))[1]
        elif number == 3:
            found = octets(value)
    return NamedJob(name, owner, job(found))


def _target(whose: bytes) -> tuple[bool, Owner | None]:
    """Whether a JobMetadata says whose a job is, and the actor if it is a reminder."""
    is_known = False
    owner: Owner | None = None
    for number, value in fields(whose):
        if number == 3:
            for kind, inner in fields(octets(value)):
                if kind in (1, 2):
                    is_known = True
                    owner = _owner(octets(inner)) if kind == 2 else None
    return is_known, owner


def _owner(data: bytes) -> Owner:
    actor_id = actor_type = ""
    for number, value in fields(data):
        if number == 1:
            actor_id = text(value)
        elif number == 2:
            actor_type = text(value)
    return Owner(actor_type, actor_id)


def _packed(data: bytes) -> Packed:
    type_url, packed = "", b""
    for number, value in fields(data):
        if number == 1:
            type_url = text(value)
        elif number == 2:
            packed = octets(value)
    return Packed(type_url, packed)


def _text(data: bytes, wanted: int) -> str:
    found = ""
    for number, value in fields(data):
        if number == wanted:
            found = text(value)
    return found
