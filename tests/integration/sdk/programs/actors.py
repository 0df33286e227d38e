"""An app with actors written with the official SDK (`dapr.actor`), behind the server of the standard library.

usage: actors.py PORT
"""

import asyncio
import datetime
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dapr.actor import Actor, ActorInterface, Remindable, actormethod
from dapr.actor.runtime.runtime import ActorRuntime
from dapr.serializers import DefaultJSONSerializer


class CatInterface(ActorInterface):
    @actormethod(name="Begin")  # type: ignore[untyped-decorator]
    async def begin(self, data: object) -> None: ...

    @actormethod(name="End")  # type: ignore[untyped-decorator]
    async def end(self) -> None: ...

    @actormethod(name="Tell")  # type: ignore[untyped-decorator]
    async def tell(self) -> object: ...


class Cat(Actor, CatInterface, Remindable):
    """Counts in its state what comes."""

    async def begin(self, data: object) -> None:
        await self._state_manager.set_state("told", data)
        soon, often = datetime.timedelta(milliseconds=100), datetime.timedelta(milliseconds=200)
        await self.register_reminder("feed", b"fish", soon, often, datetime.timedelta(hours=1))
        await self.register_timer("pet", self.pet, "softly", soon, often)

    async def end(self) -> None:
        await self.unregister_reminder("feed")
        await self.unregister_timer("pet")

    async def tell(self) -> object:
        found = {}
        for key in ("told", "fed", "petted"):
            has, value = await self._state_manager.try_get_state(key)
            found[key] = value if has else None
        return found

    async def receive_reminder(
        self, name: str, state: bytes, due_time: datetime.timedelta, period: datetime.timedelta, ttl: object = None
    ) -> None:
        await self._count("fed", f"{name} {state.decode()}")

    async def pet(self, how: object) -> None:
        await self._count("petted", str(how))

    async def _count(self, key: str, what: str) -> None:
        has, value = await self._state_manager.try_get_state(key)
        times = value[1] if has and value else 0
        await self._state_manager.set_state(key, [what, times + 1])


loop = asyncio.new_event_loop()


def run(work: Any) -> Any:
    return asyncio.run_coroutine_threadsafe(work, loop).result(20)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._say(200, DefaultJSONSerializer().serialize(ActorRuntime.get_actor_config()))

    def do_DELETE(self) -> None:
        _, _, actor_type, actor_id = self.path.split("/")
        run(ActorRuntime.deactivate(actor_type, actor_id))
        self._say(200, b"")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        _, _, actor_type, actor_id, _, *method = self.path.split("/")
        try:
            if method[0] == "remind":
                run(ActorRuntime.fire_reminder(actor_type, actor_id, method[1], body))
                self._say(200, b"")
            elif method[0] == "timer":
                run(ActorRuntime.fire_timer(actor_type, actor_id, method[1], body))
                self._say(200, b"")
            else:
                reentrancy_id = self.headers.get("Dapr-Reentrancy-Id")
                self._say(200, run(ActorRuntime.dispatch(actor_type, actor_id, method[0], body, reentrancy_id)))
        except Exception as error:
            self._say(500, repr(error).encode())

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    threading.Thread(target=loop.run_forever, daemon=True).start()
    run(ActorRuntime.register_actor(Cat))
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
