"""A process that registers one sidecar.

`sidecar_process.py local|mdns <home or interface> <app id> <address> [uid]` says "loaded", waits for a line,
registers, says what was warned of (or "registered"), and stays until its input ends.
"""

import asyncio
import os
import sqlite3
import sys

from pydapr.components.nameresolution import Instance, Resolver
from pydapr.components.nameresolution.local import Local
from pydapr.components.nameresolution.mdns import Mdns


class Loud:
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def debug(self, msg: str, /, **fields: object) -> None: ...
    def info(self, msg: str, /, **fields: object) -> None: ...
    def warning(self, msg: str, /, **fields: object) -> None:
        self.warnings.append(msg)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def main(kind: str, place: str, app_id: str, address: str, uid: str = "") -> None:
    log = Loud()
    resolver: Resolver = Local(place, log) if kind == "local" else Mdns(log, interfaces=(place,))
    sqlite3.connect(":memory:").close()
    if uid:
        os.setuid(int(uid))
    say("loaded")
    await asyncio.to_thread(sys.stdin.readline)
    await resolver.open()
    await resolver.register(Instance(app_id, "default", address))
    say("; ".join(log.warnings) or "registered")
    await asyncio.to_thread(sys.stdin.read)
    await resolver.close()


asyncio.run(main(*sys.argv[1:]))
