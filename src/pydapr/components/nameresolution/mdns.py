"""nameresolution.mdns finds sidecars by multicast DNS, the way Dapr's own does, so that both find each other.

Put together by `nameresolution.standard`; `wire.mdns` has the packets, `net.multicast` the socket.

Dapr's browser waits one second and takes silence for absence, so our answers go out at once and are complete.
Own packets instead of the `zeroconf` library: following RFC 6762, that one answers the second of two callers
within a second late or never, refuses long names and mixes up sidecars that share a host name. Everything
here runs on the event loop and is driven by use: no task, no thread.
"""

import asyncio
import os
import socket
import time
from dataclasses import dataclass

from pydapr.components.nameresolution import (
    Addresses,
    Bench,
    Clock,
    Instance,
    Log,
    NotFound,
    Resolver,
    host_port,
    is_loopback,
    process_started,
)
from pydapr.net import multicast
from pydapr.wire import mdns as packets

_FIELDS = {"component": "nr (mdns/v1)"}

_BELIEVED = 60.0  # seconds since an address was heard last
_CHECK_EVERY, _ASK_EVERY, _ASK_AGAIN, _SILENCE, _ANNOUNCE_AGAIN = 1.0, 30.0, 0.25, 0.5, 1.0
_BROWSES, _FOUND, _NAMESPACES = 64, 256, 16  # app ids watched; remembered for each: sidecars, namespaces
_RETRY = 10.0  # seconds until a machine without a network is tried again
_MACHINE = 40  # characters of the host name that fit into a label beside process, address and port


@dataclass(slots=True)
class Heard:
    """A sidecar we were told of; `pid` is known for those of this machine that were seen alive."""

    address: str
    namespace: str | None
    until: float
    pid: int
    started: int

    def is_alive(self, now: float) -> bool:
        return now < self.until and (not self.pid or process_started(self.pid) == self.started)


class Browse:
    """One app id that somebody here calls."""

    def __init__(self, app_id: str, loop: asyncio.AbstractEventLoop) -> None:
        self.app_id, self._loop = app_id, loop
        self.query = packets.query(f"{app_id}.local")
        self.marker = packets.encode_name(app_id)[:-1]
        self.heard: dict[str, Heard] = {}
        self.by_namespace: dict[str, Addresses] = {}
        self.asked_at = self.ask_at = self.check_at = self.silent_until = float("-inf")
        self.news: asyncio.Future[None] = loop.create_future()

    def changed(self) -> None:
        self.by_namespace.clear()
        self.news.set_result(None)
        self.news = self._loop.create_future()

    def addresses(self, namespace: str) -> Addresses:
        """Those in `namespace`, and the original's, which tell none; without any such, all: so does the original."""
        heard = self.heard.values()
        fitting = [one.address for one in heard if one.namespace in (None, namespace)]
        return tuple(dict.fromkeys(fitting or [one.address for one in heard]))


class Mdns(Resolver):
    def __init__(
        self,
        log: Log,
        *,
        wait: float = 0.9,
        clock: Clock = time.monotonic,
        interfaces: Addresses | None = None,
    ) -> None:
        self._log, self._wait, self._clock, self._interfaces = log, wait, clock, interfaces
        host = socket.gethostname() or "localhost"
        self._machine = host[:_MACHINE].rstrip(".")
        self._on_this_machine = (f"{host}:", f"{self._machine}:")
        self._net: multicast.Multicast | None = None
        self._trouble, self._try_at = "closed", float("inf")
        self._announcement: packets.Announcement | None = None
        self._announced: asyncio.TimerHandle | None = None
        self._browses: dict[str, Browse] = {}
        self._bench = Bench(clock)

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._try_at = float("-inf")
        self._connect()

    async def register(self, instance: Instance) -> None:
        try:
            self._announcement = _announcement(instance, self._machine)
        except ValueError as error:
            self._log.warning(f"cannot announce {instance.app_id} by mDNS: {error}", **_FIELDS)
            return
        if self._net is not None:
            self._announce()
            self._announced = self._loop.call_later(_ANNOUNCE_AGAIN, self._announce)
            host, port = host_port(instance.address)
            self._log.info(f"local service entry announced: {instance.app_id} -> {host}:{port}", **_FIELDS)

    def known(self, app_id: str, namespace: str) -> Addresses:
        browse = self._browses.get(app_id)
        if browse is None or self._clock() >= browse.check_at:
            browse = self._look_after(app_id)
            if browse is None:
                return ()
        found = browse.by_namespace.get(namespace)
        return self._gather(browse, namespace) if found is None else found

    async def resolve(self, app_id: str, namespace: str) -> Addresses:
        if found := self.known(app_id, namespace):
            return found
        browse, deadline, again = self._browses.get(app_id), self._clock() + self._wait, _ASK_AGAIN
        if browse is None or self._net is None:
            raise NotFound(app_id, (f"mDNS ({self._trouble})",))
        if self._clock() >= browse.silent_until:
            if self._clock() - browse.asked_at > _ASK_AGAIN:
                self._ask(browse)
            while (left := deadline - self._clock()) > 0:
                await asyncio.wait({browse.news}, timeout=min(left, again))
                if found := self.known(app_id, namespace):
                    return found
                if again < self._wait:
                    again = self._wait
                    self._ask(browse)
            browse.silent_until = self._clock() + _SILENCE
        places = " ".join(self._net.interfaces if self._net else ())
        raise NotFound(app_id, (f"mDNS {app_id}.local on {places} for {self._wait:g} s",))

    def report_dead(self, app_id: str, namespace: str, address: str) -> None:
        """Whoever is still there answers the question that goes out now and is heard again."""
        self._bench.add(address)
        if (browse := self._browses.get(app_id)) is None:
            return
        others = {name: one for name, one in browse.heard.items() if one.address != address}
        if others != browse.heard:
            browse.heard = others
            browse.changed()
            self._ask(browse)

    async def close(self) -> None:
        self._try_at, self._trouble = float("inf"), "closed"
        if self._announced is not None:
            self._announced.cancel()
        net, self._net = self._net, None
        if net is not None:
            if self._announcement is not None:
                net.send(self._announcement.goodbye)
            net.close()

    def _gather(self, browse: Browse, namespace: str) -> Addresses:
        if len(browse.by_namespace) >= _NAMESPACES:
            browse.by_namespace.clear()
        found = browse.by_namespace[namespace] = self._bench.without(browse.addresses(namespace))
        return found

    def _connect(self) -> bool:
        """Also later, when the machine got its network after the sidecar started."""
        if self._net is None and self._clock() >= self._try_at:
            self._try_at = self._clock() + _RETRY
            try:
                self._net = multicast.Multicast(self._on_packet, self._interfaces, self._clock)
                self._announce()
            except OSError as error:
                self._trouble = str(error)
                self._log.debug(f"mDNS is not available: {self._trouble}", **_FIELDS)
        return self._net is not None

    def _announce(self) -> None:
        if self._net is not None and self._announcement is not None:
            self._net.send(self._announcement.message)

    def _ask(self, browse: Browse) -> None:
        browse.asked_at = self._clock()
        browse.ask_at = browse.asked_at + _ASK_EVERY
        if self._connect() and self._net is not None:
            self._net.send(browse.query)

    def _look_after(self, app_id: str) -> Browse | None:
        """Once a second per app id: begins to browse, asks again, forgets the dead and those not heard."""
        browse, now = self._browses.get(app_id), self._clock()
        if browse is None:
            browse = self._begin(app_id)
        if browse is None:
            return None
        if now >= browse.ask_at:
            self._ask(browse)
            if browse.check_at == float("-inf"):  # a lost packet shall not cost half a minute
                browse.ask_at = now + _CHECK_EVERY
        browse.check_at = now + _CHECK_EVERY
        alive = {name: one for name, one in browse.heard.items() if one.is_alive(now)}
        if len(alive) != len(browse.heard):
            browse.heard = alive
            browse.changed()
        elif self._bench:
            browse.by_namespace.clear()
        return browse

    def _begin(self, app_id: str) -> Browse | None:
        if not self._connect():
            return None
        try:
            browse = Browse(app_id, self._loop)
        except ValueError:
            return None
        if len(self._browses) >= _BROWSES:
            oldest = min(self._browses.values(), key=lambda other: other.check_at)
            del self._browses[oldest.app_id]
        self._browses[app_id] = browse
        return browse

    def _on_packet(self, data: bytes, sender: tuple[str, int]) -> None:
        try:
            if data[2] & 0x80:
                for browse in self._browses.values():
                    if browse.marker in data:
                        self._hear(browse, packets.sidecars(data, browse.app_id), sender[0])
            elif self._announcement is not None and self._net is not None:
                self._reply(self._announcement.answer(data), data, sender)
        except (packets.Malformed, IndexError, UnicodeDecodeError):
            return

    def _reply(self, reply: tuple[bytes, bool] | None, data: bytes, asker: tuple[str, int]) -> None:
        if reply is None or self._net is None:
            return
        message, is_for_one = reply
        if is_for_one or asker[1] != multicast.PORT:
            self._net.send_to(data[:2] + message[2:], asker)
        else:
            self._net.send(message)

    def _hear(self, browse: Browse, told: list[packets.Sidecar], sender: str) -> None:
        before = [(one.address, one.namespace) for one in browse.heard.values()]
        for one in told:
            if one.address is None:
                browse.heard.pop(one.name, None)
            elif not is_loopback(host_port(one.address)[0]) or multicast.is_own(sender):
                self._remember(browse, one, one.address)
        if before != [(one.address, one.namespace) for one in browse.heard.values()]:
            browse.changed()

    def _remember(self, browse: Browse, told: packets.Sidecar, address: str) -> None:
        """The latest to claim an address has it: its former owner, of whichever app id, must be gone."""
        for other in self._browses.values():
            former = [name for name, one in other.heard.items() if one.address == address]
            for name in former:
                if name != told.name:
                    del other.heard[name]
                    other.changed()
        if told.name in browse.heard or len(browse.heard) < _FOUND:
            pid, started = self._process(told.name)
            until = self._clock() + _BELIEVED
            browse.heard[told.name] = Heard(address, told.namespace, until, pid, started)

    def _process(self, name: str) -> tuple[int, int]:
        """The process behind `<host>:<pid>…` if seen running here; a container's may have no such number."""
        if not name.startswith(self._on_this_machine):
            return 0, 0
        pid = name.split(":")[1].partition(".")[0]
        started = process_started(int(pid)) if pid.isdecimal() and len(pid) < 10 else None
        return (int(pid), started) if started else (0, 0)


def _announcement(instance: Instance, machine: str) -> packets.Announcement:
    """`ValueError` for an app id or address that does not fit."""
    host, port = host_port(instance.address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        address = socket.inet_pton(family, "127.0.0.1" if host == "localhost" else host)
    except OSError as error:
        raise ValueError(f"{host!r} is no IP address") from error
    return packets.Announcement(instance.app_id, instance.namespace, address, port, machine, os.getpid())
