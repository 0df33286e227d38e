"""nameresolution.mdns finds sidecars by multicast DNS, the way Dapr's own does, so that both find each other.

Dapr takes the app id itself as the service type: `<app id>.local.` points to `<host>:<pid>.<app id>.local.`,
whose TXT record is the app id again. Its browser reads each message by itself (PTR, SRV, TXT, A together),
waits one second and takes silence for absence, so our answers go out at once and are complete. After the app
id our TXT record also tells the namespace, which the original overlooks.

Own packets instead of the `zeroconf` library: following RFC 6762, that one answers the second of two callers
within a second late or never, refuses long names and mixes up sidecars that share a host name. Everything
here runs on the event loop and is driven by use: no task, no thread. First the packets (pure), then the
socket, then the component.
"""

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
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

PORT, GROUP4, GROUP6 = 5353, "224.0.0.251", "ff02::fb"
_A, _PTR, _TXT, _AAAA, _SRV = 1, 12, 16, 28, 33
_IN, _TOP_BIT, _RESPONSE = (
    0x0001,
    0x8000,
    0x8400,
)  # the top bit of a class: answer me alone; forget older records
_TTL, _ADDRESS_TTL = 3200, 120  # seconds, as the original's
_TYPES = "_services._dns-sd._udp.local"
_FIELDS = {"component": "nr (mdns/v1)"}

_BELIEVED = 60.0  # seconds since an address was heard last
_CHECK_EVERY, _ASK_EVERY, _ASK_AGAIN, _SILENCE, _ANNOUNCE_AGAIN = 1.0, 30.0, 0.25, 0.5, 1.0
_BROWSES, _FOUND, _NAMESPACES = 64, 256, 16  # app ids watched; remembered for each: sidecars, namespaces
_RESCAN, _INTERFACES, _BURST = 10.0, 16, 32
_MACHINE = 40  # characters of the host name that fit into a label beside process, address and port

# --- packets: RFC 1035 in the few forms that sidecars speak ---------------------------------------


class Malformed(ValueError):
    """Not a DNS message we can read."""


@dataclass(frozen=True, slots=True)
class Question:
    name: str
    wants_unicast: bool


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What one message tells of one sidecar; without an address it says goodbye."""

    name: str
    address: str | None
    namespace: str | None


def encode_name(name: str) -> bytes:
    labels = [label.encode() for label in name.split(".")]
    if any(not 0 < len(label) < 64 for label in labels) or sum(map(len, labels)) + len(labels) > 254:
        raise ValueError(f"{name!r} does not fit into a DNS name")
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def decode_name(data: bytes, at: int) -> tuple[str, int]:
    """The name at an offset and where it ends; each pointer must lead backwards, so that there is an end."""
    labels: list[str] = []
    end, limit = 0, at
    while (length := data[at]) and len(labels) < 128:
        if length < 64:
            labels.append(data[at + 1 : at + 1 + length].decode())
            at += 1 + length
            continue
        target = int.from_bytes(data[at : at + 2], "big") & 0x3FFF
        if length < 192 or target >= limit:
            raise Malformed("pointer that does not lead backwards")
        end = end or at + 2
        at = limit = target
    return ".".join(labels), end or at + 1


def query(name: str) -> bytes:
    return struct.pack("!6H", 0, 0, 1, 0, 0, 0) + encode_name(name) + struct.pack("!2H", _PTR, _IN)


def response(*records: bytes) -> bytes:
    return struct.pack("!6H", 0, _RESPONSE, 0, len(records), 0, 0) + b"".join(records)


def record(name: str, type_: int, class_: int, ttl: int, data: bytes) -> bytes:
    return encode_name(name) + struct.pack("!2HIH", type_, class_, ttl, len(data)) + data


def questions(data: bytes) -> Iterator[Question]:
    at = 12
    for _ in range(int.from_bytes(data[4:6], "big")):
        name, at = decode_name(data, at)
        yield Question(name, bool(data[at + 2] & 0x80))
        at += 4


def _records(data: bytes) -> Iterator[tuple[str, int, int, int, int]]:
    """Name, type, time to live and the limits of the data, of all sections alike."""
    asked, *counts = struct.unpack_from("!4H", data, 4)
    at = 12
    for _ in range(asked):
        at = decode_name(data, at)[1] + 4
    for _ in range(sum(counts)):
        name, at = decode_name(data, at)
        type_, _, ttl, length = struct.unpack_from("!2HIH", data, at)
        at += 10 + length
        if at > len(data):
            raise Malformed("record cut short")
        yield name, type_, ttl, at - length, at


def _texts(data: bytes) -> list[str]:
    texts = []
    while data:
        texts.append(data[1 : 1 + data[0]].decode(errors="replace"))
        data = data[1 + data[0] :]
    return texts


def sidecars(data: bytes, app_id: str) -> list[Sidecar]:
    """The sidecars of one app that a message tells of; raises `Malformed`."""
    try:
        return _sidecars(data, app_id)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise Malformed(str(error)) from error


def _sidecars(data: bytes, app_id: str) -> list[Sidecar]:
    service = f"{app_id}.local"
    lives: dict[str, bool] = {}
    places: dict[str, tuple[str, int]] = {}
    texts: dict[str, list[str]] = {}
    hosts4: dict[str, str] = {}
    hosts6: dict[str, str] = {}
    for name, type_, ttl, start, end in _records(data):
        if type_ == _PTR and name == service:
            lives[decode_name(data, start)[0]] = ttl > 0
        elif type_ == _SRV and name.endswith(f".{service}"):
            lives[name] = ttl > 0
            places[name] = decode_name(data, start + 6)[0], int.from_bytes(data[start + 4 : start + 6], "big")
        elif type_ == _TXT:
            texts[name] = _texts(data[start:end])
        elif type_ == _A and end - start == 4:
            hosts4.setdefault(name, socket.inet_ntop(socket.AF_INET, data[start:end]))
        elif type_ == _AAAA and end - start == 16:
            hosts6.setdefault(name, f"[{socket.inet_ntop(socket.AF_INET6, data[start:end])}]")
    found = [Sidecar(name, None, None) for name, is_alive in lives.items() if not is_alive]
    for name, (target, port) in places.items():
        host, text = hosts4.get(target) or hosts6.get(target), texts.get(name, [])
        if lives[name] and host and text[:1] == [app_id]:
            namespace = next((entry[3:] for entry in text if entry.startswith("ns=")), None)
            found.append(Sidecar(name, f"{host}:{port}", namespace))
    return found


class Announcement:
    """What we say of ourselves, built once; `ValueError` for an app id or address that does not fit."""

    def __init__(self, instance: Instance, machine: str, pid: int) -> None:
        host, port = host_port(instance.address)
        service = f"{instance.app_id}.local"
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            address = socket.inet_pton(family, "127.0.0.1" if host == "localhost" else host)
        except OSError as error:
            raise ValueError(f"{host!r} is no IP address") from error
        name = f"{machine}:{pid}:{address[-4:].hex()}{port:04x}.{service}"
        target = f"{machine}-{pid}-{port}.local"
        texts = [text.encode() for text in (instance.app_id, f"ns={instance.namespace}")]

        def records(ttl: int, address_ttl: int) -> bytes:
            return response(
                record(service, _PTR, _IN, ttl, encode_name(name)),
                record(name, _SRV, _IN | _TOP_BIT, ttl, struct.pack("!3H", 0, 0, port) + encode_name(target)),
                record(name, _TXT, _IN | _TOP_BIT, ttl, b"".join(bytes((len(t),)) + t for t in texts)),
                record(target, _AAAA if ":" in host else _A, _IN | _TOP_BIT, address_ttl, address),
            )

        self.message, self.goodbye = records(_TTL, _ADDRESS_TTL), records(0, 0)
        self._types = response(record(_TYPES, _PTR, _IN, _TTL, encode_name(service)))
        self._names, self._marker = (service, name), encode_name(service)[:-1]

    def answer(self, data: bytes) -> tuple[bytes, bool] | None:
        """The reply to a query, and whether it is for the asker alone; None when nobody asked us."""
        if self._marker not in data and b"\x07_dns-sd" not in data:
            return None
        for question in questions(data):
            if question.name in self._names:
                return self.message, question.wants_unicast
            if question.name == _TYPES:
                return self._types, question.wants_unicast
        return None


# --- the socket -----------------------------------------------------------------------------------

OnPacket = Callable[[bytes, tuple[str, int]], None]


class Multicast:
    """One socket in the group on each interface: IPv4, and IPv6 on a machine without. Raises `OSError`.

    Bound to the group's own address where the system allows it: nothing from beyond the link can reach that.
    """

    def __init__(self, on_packet: OnPacket, interfaces: Addresses | None, clock: Clock) -> None:
        self._on_packet, self._only, self._clock = on_packet, interfaces, clock
        self._joined: dict[str, int] = {}
        self._scanned = float("-inf")
        self._is_6 = False
        self._socket = self._open(socket.AF_INET)
        if not self._joined:
            self._socket.close()
            self._is_6 = True
            self._socket = self._open(socket.AF_INET6)
        if not self._joined:
            self._socket.close()
            raise OSError("no interface with multicast")
        self._loop = asyncio.get_running_loop()
        try:
            self._loop.add_reader(self._socket, self._read)
        except NotImplementedError as error:  # Windows, with its usual event loop
            self._socket.close()
            raise OSError("this event loop cannot watch sockets") from error

    @property
    def interfaces(self) -> tuple[str, ...]:
        return tuple(self._joined)

    def send(self, data: bytes) -> None:
        """To the group on every interface; what an interface refuses is lost, as any datagram may be."""
        self._join()
        for index in self._joined.values():
            try:
                if self._is_6:
                    self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
                else:
                    request = _request4("0.0.0.0", index)
                    self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
                self._socket.sendto(data, (GROUP6 if self._is_6 else GROUP4, PORT))
            except OSError:
                continue

    def send_to(self, data: bytes, to: tuple[str, int]) -> None:
        try:
            self._socket.sendto(data, to)
        except OSError:
            return

    def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _open(self, family: socket.AddressFamily) -> socket.socket:
        opened = socket.socket(family, socket.SOCK_DGRAM)
        try:
            opened.setblocking(False)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "SO_REUSEPORT"):
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            else:
                opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
            _bind(opened, "::" if family == socket.AF_INET6 else GROUP4)
        except OSError:
            opened.close()
            raise
        self._socket = opened
        self._join()
        return opened

    def _join(self) -> None:
        """Now and then, as a laptop meets new networks."""
        if self._clock() - self._scanned < _RESCAN:
            return
        self._scanned = self._clock()
        present = self._present()
        self._joined = {name: index for name, index in self._joined.items() if present.get(name) == index}
        for name, index in present.items():
            if name not in self._joined and self._joins(index):
                self._joined[name] = index

    def _joins(self, index: int) -> bool:
        try:
            if self._is_6:
                request = socket.inet_pton(socket.AF_INET6, GROUP6) + struct.pack("@I", index)
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
            else:
                self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, _request4(GROUP4, index))
        except OSError:
            return False
        return True

    def _present(self) -> dict[str, int]:
        """Interfaces that are up and do multicast; when there is none, the loopback interface."""
        there = {name: index for index, name in socket.if_nameindex()}
        if self._only is not None:
            return {name: index for name, index in there.items() if name in self._only}
        able = {name: index for name, index in there.items() if _does_multicast(name)}
        return dict(list((able or there).items())[:_INTERFACES])

    def _read(self) -> None:
        for _ in range(_BURST):
            try:
                data, sender = self._socket.recvfrom(9000)
            except OSError:
                return
            if len(data) > 12:
                self._on_packet(data, sender)


def _bind(opened: socket.socket, host: str) -> None:
    try:
        opened.bind((host, PORT))
    except OSError:
        opened.bind(("", PORT))


def _request4(group: str, index: int) -> bytes:
    return socket.inet_aton(group) + b"\0\0\0\0" + struct.pack("@i", index)


def _does_multicast(interface: str) -> bool:
    try:
        with open(f"/sys/class/net/{interface}/flags") as file:
            return int(file.read(), 16) & 0x1001 == 0x1001  # up, multicast
    except OSError:
        return not os.path.isdir("/sys/class/net")


def is_own(host: str) -> bool:
    """Whether an IP address is one of this machine's."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


# --- the component --------------------------------------------------------------------------------


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
        self.query = query(f"{app_id}.local")
        self.marker = encode_name(app_id)[:-1]
        self.heard: dict[str, Heard] = {}
        self.by_namespace: dict[str, Addresses] = {}
        self.asked_at = self.ask_at = self.check_at = self.silent_until = float("-inf")
        self.news: asyncio.Future[None] = loop.create_future()

    def changed(self) -> None:
        self.by_namespace.clear()
        self.news.set_result(None)
        self.news = self._loop.create_future()

    def addresses(self, namespace: str) -> Addresses:
        fitting = (one.address for one in self.heard.values() if one.namespace in (None, namespace))
        return tuple(dict.fromkeys(fitting))


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
        self._net: Multicast | None = None
        self._trouble, self._try_at = "closed", float("inf")
        self._announcement: Announcement | None = None
        self._announced: asyncio.TimerHandle | None = None
        self._browses: dict[str, Browse] = {}
        self._bench = Bench(clock)

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._try_at = float("-inf")
        self._connect()

    async def register(self, instance: Instance) -> None:
        try:
            self._announcement = Announcement(instance, self._machine, os.getpid())
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
            self._try_at = self._clock() + _RESCAN
            try:
                self._net = Multicast(self._on_packet, self._interfaces, self._clock)
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
                        self._hear(browse, sidecars(data, browse.app_id), sender[0])
            elif self._announcement is not None and self._net is not None:
                self._reply(self._announcement.answer(data), data, sender)
        except (Malformed, IndexError, UnicodeDecodeError):
            return

    def _reply(self, reply: tuple[bytes, bool] | None, data: bytes, asker: tuple[str, int]) -> None:
        if reply is None or self._net is None:
            return
        message, is_for_one = reply
        if is_for_one or asker[1] != PORT:
            self._net.send_to(data[:2] + message[2:], asker)
        else:
            self._net.send(message)

    def _hear(self, browse: Browse, told: list[Sidecar], sender: str) -> None:
        before = [(one.address, one.namespace) for one in browse.heard.values()]
        for one in told:
            if one.address is None:
                browse.heard.pop(one.name, None)
            elif not is_loopback(host_port(one.address)[0]) or is_own(sender):
                self._remember(browse, one, one.address)
        if before != [(one.address, one.namespace) for one in browse.heard.values()]:
            browse.changed()

    def _remember(self, browse: Browse, told: Sidecar, address: str) -> None:
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
