"""Jobs and reminders as sidecar and scheduler speak of them: plain values, and what can be asked of a scheduler.

`peers.scheduler` asks over gRPC; `blocks.jobs` and `blocks.actors.reminders` use it through `Scheduling`, and are told
of what is due as `Due`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from pydapr.lib.actors import Packed
from pydapr.lib.record import Record


class FailurePolicy(Record):
    """What happens when a trigger fails: it is dropped, or tried again after each `interval` (seconds), `max_retries`
    times, None for without end."""

    drops: bool
    interval: float | None = None
    max_retries: int | None = None


class Job(Record):
    """When something is due, and what it carries. Texts are as the app has given them; None for what it has not."""

    schedule: str | None = None
    repeats: int | None = None
    due_time: str | None = None
    ttl: str | None = None
    data: Packed | None = None
    failure_policy: FailurePolicy | None = None


class Owner(Record):
    """The actor whose reminder it is."""

    actor_type: str
    actor_id: str


class NamedJob(Record):
    """An entry of a listing; `owner` is None for a job of the app itself."""

    name: str
    owner: Owner | None
    job: Job


class Due(Record):
    """What is to be delivered now."""

    name: str
    owner: Owner | None
    data: Packed | None


class Scheduling(ABC):
    """Asks a scheduler. Everything is in the name of this sidecar's app and namespace, which the implementation knows;
    `owner` None means a job of the app. All methods raise `RpcError`, UNAVAILABLE among others when no scheduler can
    be reached in time."""

    @abstractmethod
    async def schedule(
        self, name: str, job: Job, owner: Owner | None, overwrite: bool, concurrency_key: str | None = None
    ) -> None:
        """Keeps a job. When this returns the job is stored."""

    @abstractmethod
    async def get(self, name: str, owner: Owner | None) -> Job:
        """The job as it was given. Raises NOT_FOUND."""

    @abstractmethod
    async def delete(self, name: str, owner: Owner | None) -> None:
        """Forgets a job; it is no error that there is none."""

    @abstractmethod
    async def list(self, owner: Owner | None) -> Sequence[NamedJob]:
        """The app's jobs, or the reminders of an actor, of all actors of a type if `actor_id` is empty."""

    @abstractmethod
    async def delete_owned(self, owner: Owner, id_is_prefix: bool = False) -> None:
        """Forgets the reminders of an actor, of all of its type if `actor_id` is empty."""

    @abstractmethod
    async def delete_by_prefix(self, prefix: str) -> None:
        """Forgets the app's jobs whose names begin so, all of them if it is empty."""
