"""One socket in the group of mDNS: datagrams to and from everybody on the link.

Opened by `components.nameresolution.mdns`, which makes and reads the packets with `wire.mdns` and is called
with each one that arrives. Watched by the event loop: no task, no thread.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable

PORT, GROUP4, GROUP6 = 5353, "224.0.0.251", "ff02::fb"
_RESCAN, _INTERFACES, _BURST = 10.0, 16, 32  # seconds; interfaces joined; packets read in one go

OnPacket = Callable[[bytes, tuple[str, int]], None]


class Multicast:
    """One socket in the group on each interface: IPv4, and IPv6 on a machine without. Raises `OSError`.

    Bound to the group's own address where the system allows it: nothing from beyond the link can reach that.
    """

    def __init__(self, on_packet: OnPacket, interfaces: tuple[str, ...] | None, clock: Callable[[], float]) -> None:
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
