"""Reminders and timers of actors over HTTP. Called by the router; asks `blocks.actors`.

Bodies are read as Go reads them: names without regard to case, what is unknown passed over, nothing minded that stands
behind the document. Data go through as they came.
"""

from typing import TYPE_CHECKING

from pydapr.api.http.errors import JSON, encode
from pydapr.errors import BodyUnreadable
from pydapr.lib import urls
from pydapr.lib.actors import Actor
from pydapr.net.body import TooLarge
from pydapr.net.exchange import Exchange
from pydapr.wire import anyvalues

if TYPE_CHECKING:
    from pydapr.blocks.actors.reminders import Kept, Reminders
    from pydapr.blocks.actors.timers import Timers

PREFIX = b"/v1.0/actors/"


class RemindersApi:
    """Answers POST, PUT, GET and DELETE of `/v1.0/actors/<type>/<id>/reminders/<name>`, and of `timers`."""

    def __init__(self, reminders: "Reminders", timers: "Timers", max_body: int) -> None:
        self._reminders, self._timers, self._max_body = reminders, timers, max_body

    async def register(self, exchange: Exchange) -> None:
        """Keeps a reminder."""
        from pydapr.api.http import reminder_bodies

        actor, name = _whose(exchange)
        wanted = reminder_bodies.reminder(await self._body(exchange))
        await self._reminders.register(actor, name, wanted)
        exchange.respond(204, ())

    async def get(self, exchange: Exchange) -> None:
        """A reminder as it was given."""
        actor, name = _whose(exchange)
        found = await self._reminders.get(actor, name)
        exchange.respond(200, JSON, _shown(found))

    async def unregister(self, exchange: Exchange) -> None:
        """Forgets a reminder."""
        actor, name = _whose(exchange)
        await self._reminders.unregister(actor, name)
        exchange.respond(204, ())

    async def register_timer(self, exchange: Exchange) -> None:
        """Makes a timer."""
        from pydapr.api.http import reminder_bodies

        actor, name = _whose(exchange)
        wanted = reminder_bodies.timer(await self._body(exchange))
        await self._timers.register(actor, name, wanted.due, wanted.period, wanted.ttl, wanted.callback, wanted.data)
        exchange.respond(204, ())

    async def unregister_timer(self, exchange: Exchange) -> None:
        """Takes a timer back."""
        actor, name = _whose(exchange)
        await self._timers.unregister(actor, name)
        exchange.respond(204, ())

    async def _body(self, exchange: Exchange) -> bytes:
        try:
            return await exchange.body.read_all(self._max_body)
        except TooLarge as error:
            raise BodyUnreadable(str(error)) from None


def _whose(exchange: Exchange) -> tuple[Actor, str]:
    """The actor, and the name of its reminder or timer."""
    actor_type, actor_id, _, name = urls.whole(urls.segments(exchange.target, PREFIX))
    return Actor(actor_type, actor_id), name


def _shown(found: "Kept") -> bytes:
    parts = [b'"actorID":' + encode(found.actor.id), b'"actorType":' + encode(found.actor.type)]
    if found.data is not None and (data := anyvalues.document(found.data.type_url, found.data.value)):
        parts.append(b'"data":' + data)
    for name, text in ((b"dueTime", found.due), (b"period", found.period), (b"ttl", found.ttl)):
        if text:
            parts.append(b'"%s":' % name + encode(text))
    return b"{" + b",".join(parts) + b"}\n"
