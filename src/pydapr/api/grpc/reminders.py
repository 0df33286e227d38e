"""Reminders and timers of actors over gRPC. Called by the router; asks `blocks.actors`.

Data of apps are bytes, and become a string of JSON in base64: that is how the original keeps them.
"""

import base64
from typing import TYPE_CHECKING

from pydapr.api.grpc import unary
from pydapr.lib.actors import Actor, Packed
from pydapr.net.http2_server import ServerExchange
from pydapr.wire import anyvalues

if TYPE_CHECKING:
    from pydapr.blocks.actors.reminders import Kept, Reminders
    from pydapr.blocks.actors.timers import Timers
    from pydapr.proto.dapr.proto.runtime.v1 import actors_pb2


class RemindersApi:
    """Answers the methods for reminders and timers."""

    def __init__(self, reminders: "Reminders", timers: "Timers") -> None:
        self._reminders, self._timers = reminders, timers

    def answers(self) -> dict[str, unary.Answer]:
        """By the names of methods."""
        return {
            "RegisterActorReminder": self.register,
            "GetActorReminder": self.get,
            "ListActorReminders": self.list,
            "UnregisterActorReminder": self.unregister,
            "UnregisterActorRemindersByType": self.unregister_all,
            "RegisterActorTimer": self.register_timer,
            "UnregisterActorTimer": self.unregister_timer,
        }

    async def register(self, exchange: ServerExchange, data: bytes) -> bytes:
        """Keeps a reminder."""
        from pydapr.api import jobs
        from pydapr.blocks.actors.reminders import Wanted
        from pydapr.proto.dapr.proto.runtime.v1 import actors_pb2

        asked = unary.decode(actors_pb2.RegisterActorReminderRequest, data)
        policy = jobs.policy(asked.failure_policy) if asked.HasField("failure_policy") else None
        overwrite = asked.overwrite if asked.HasField("overwrite") else True
        wanted = Wanted(asked.due_time, asked.period, asked.ttl, _packed(asked.data), overwrite, policy)
        await self._reminders.register(Actor(asked.actor_type, asked.actor_id), asked.name, wanted)
        return b""

    async def get(self, exchange: ServerExchange, data: bytes) -> bytes:
        """A reminder as it was given."""
        from pydapr.proto.dapr.proto.runtime.v1 import actors_pb2

        asked = unary.decode(actors_pb2.GetActorReminderRequest, data)
        found = await self._reminders.get(Actor(asked.actor_type, asked.actor_id), asked.name)
        answer = actors_pb2.GetActorReminderResponse()
        _show(found, answer)
        return answer.SerializeToString()

    async def list(self, exchange: ServerExchange, data: bytes) -> bytes:
        """The reminders of an actor, or of all of its type."""
        from pydapr.proto.dapr.proto.runtime.v1 import actors_pb2

        asked = unary.decode(actors_pb2.ListActorRemindersRequest, data)
        actor_id = asked.actor_id if asked.HasField("actor_id") else None
        answer = actors_pb2.ListActorRemindersResponse()
        for one in await self._reminders.list(asked.actor_type, actor_id):
            _show(one, answer.reminders.add(name=one.name).reminder)
        return answer.SerializeToString()

    async def unregister(self, exchange: ServerExchange, data: bytes) -> bytes:
        """Forgets a reminder."""
        from pydapr.proto.dapr.proto.runtime.v1 import actors_pb2

        asked = unary.decode(actors_pb2.UnregisterActorReminderRequest, data)
        await self._reminders.unregister(Actor(asked.actor_type, asked.actor_id), asked.name)
        return b""

    async def unregister_all(self, exchange: ServerExchange, data: bytes) -> bytes:
        """Forgets the reminders of an actor, or of all actors of a type."""
        from pydapr.proto.dapr.proto.runtime.v1 import actors_pb2

        asked = unary.decode(actors_pb2.UnregisterActorRemindersByTypeRequest, data)
        actor_id = asked.actor_id if asked.HasField("actor_id") else None
        await self._reminders.unregister_all(asked.actor_type, actor_id)
        return b""

    async def register_timer(self, exchange: ServerExchange, data: bytes) -> bytes:
        """Makes a timer."""
        from pydapr.proto.dapr.proto.runtime.v1 import actors_pb2

        asked = unary.decode(actors_pb2.RegisterActorTimerRequest, data)
        actor, packed = Actor(asked.actor_type, asked.actor_id), _packed(asked.data)
        await self._timers.register(actor, asked.name, asked.due_time, asked.period, asked.ttl, asked.callback, packed)
        return b""

    async def unregister_timer(self, exchange: ServerExchange, data: bytes) -> bytes:
        """Takes a timer back."""
        from pydapr.proto.dapr.proto.runtime.v1 import actors_pb2

        asked = unary.decode(actors_pb2.UnregisterActorTimerRequest, data)
        await self._timers.unregister(Actor(asked.actor_type, asked.actor_id), asked.name)
        return b""


def _packed(data: bytes) -> Packed | None:
    if not data:
        return None
    return Packed(anyvalues.BYTES, anyvalues.bytes_value(b'"' + base64.b64encode(data) + b'"'))


def _show(found: "Kept", message: "actors_pb2.GetActorReminderResponse | actors_pb2.ActorReminder") -> None:
    message.actor_type, message.actor_id = found.actor.type, found.actor.id
    if found.due:
        message.due_time = found.due
    if found.period:
        message.period = found.period
    if found.ttl:
        message.ttl = found.ttl
    if found.data is not None:
        message.data.type_url, message.data.value = found.data.type_url, found.data.value
