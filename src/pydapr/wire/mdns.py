"""The DNS packets with which sidecars find each other: RFC 1035 in the few forms that they speak.

Called by `components.nameresolution.mdns`, which asks with `query`, reads what comes with `sidecars` and
replies with an `Announcement`; `net.multicast` moves the bytes.

Dapr takes the app id itself as the service type: `<app id>.local.` points to `<host>:<pid>.<app id>.local.`,
whose TXT record is the app id again. Its browser reads each message by itself (PTR, SRV, TXT, A together), so
ours are complete. After the app id our TXT record also tells the namespace, which the original overlooks.
"""

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_A, _PTR, _TXT, _AAAA, _SRV = 1, 12, 16, 28, 33
_IN, _TOP_BIT, _RESPONSE = (
    0x0001,
    0x8000,
    0x8400,
)  # the top bit of a class: answer me alone; forget older records
_TTL, _ADDRESS_TTL = 3200, 120  # seconds, as the original's
_TYPES = "_services._dns-sd._udp.local"
_LONGEST = 255
"""Letters of a name (RFC 1035, section 2.3.4)."""


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


def decode_name(data: bytes, at: int, known: dict[int, str] | None = None) -> tuple[str, int]:
    """The name at an offset and where it ends; each pointer must lead backwards, so that there is an end.

    `known` is for all names of one message: what several of them point to is read once.
    """
    labels: list[str] = []
    begin, end, limit = at, 0, at
    pointed, before = -1, 0
    while (length := data[at]) and len(labels) < 128:
        if length < 64:
            labels.append(data[at + 1 : at + 1 + length].decode())
            at += 1 + length
            continue
        target = int.from_bytes(data[at : at + 2], "big") & 0x3FFF
        if length < 192 or target >= limit:
            raise Malformed("pointer that does not lead backwards")
        if not end:
            end, pointed, before = at + 2, target, len(labels)
        if known is not None and target in known:
            if known[target]:
                labels.append(known[target])
            break
        at = limit = target
    name = ".".join(labels)
    if len(name) > _LONGEST:
        raise Malformed("name that is too long")
    if known is not None:
        known[begin] = name
        if end:
            known[pointed] = ".".join(labels[before:])
    return name, end or at + 1


def query(name: str) -> bytes:
    return struct.pack("!6H", 0, 0, 1, 0, 0, 0) + encode_name(name) + struct.pack("!2H", _PTR, _IN)


def response(*records: bytes) -> bytes:
    return struct.pack("!6H", 0, _RESPONSE, 0, len(records), 0, 0) + b"".join(records)


def record(name: str, type_: int, class_: int, ttl: int, data: bytes) -> bytes:
    return encode_name(name) + struct.pack("!2HIH", type_, class_, ttl, len(data)) + data


def questions(data: bytes) -> Iterator[Question]:
    at = 12
    known: dict[int, str] = {}
    for _ in range(int.from_bytes(data[4:6], "big")):
        name, at = decode_name(data, at, known)
        yield Question(name, bool(data[at + 2] & 0x80))
        at += 4


def _records(data: bytes, known: dict[int, str]) -> Iterator[tuple[str, int, int, int, int]]:
    """Name, type, time to live and the limits of the data, of all sections alike."""
    asked, *counts = struct.unpack_from("!4H", data, 4)
    at = 12
    for _ in range(asked):
        at = decode_name(data, at, known)[1] + 4
    for _ in range(sum(counts)):
        name, at = decode_name(data, at, known)
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


def _host4(address: bytes) -> str:
    return ".".join(map(str, address))


def _host6(address: bytes) -> str:
    """As `inet_ntop` writes it: an IPv4 address inside keeps its dots, which `ipaddress` learnt in 3.13 only."""
    if address[:12] == bytes(10) + b"\xff\xff":
        return f"::ffff:{_host4(address[12:])}"
    if address[:12] == bytes(12) and any(address[12:14]):
        return f"::{_host4(address[12:])}"
    return str(ipaddress.IPv6Address(address))


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
    known: dict[int, str] = {}
    for name, type_, ttl, start, end in _records(data, known):
        if type_ == _PTR and name == service:
            lives[decode_name(data, start, known)[0]] = ttl > 0
        elif type_ == _SRV and name.endswith(f".{service}"):
            lives[name] = ttl > 0
            places[name] = decode_name(data, start + 6, known)[0], int.from_bytes(data[start + 4 : start + 6], "big")
        elif type_ == _TXT:
            texts[name] = _texts(data[start:end])
        elif type_ == _A and end - start == 4:
            hosts4.setdefault(name, _host4(data[start:end]))
        elif type_ == _AAAA and end - start == 16:
            hosts6.setdefault(name, f"[{_host6(data[start:end])}]")
    found = [Sidecar(name, None, None) for name, is_alive in lives.items() if not is_alive]
    for name, (target, port) in places.items():
        host, text = hosts4.get(target) or hosts6.get(target), texts.get(name, [])
        if lives[name] and host and text[:1] == [app_id]:
            namespace = next((entry[3:] for entry in text if entry.startswith("ns=")), None)
            found.append(Sidecar(name, f"{host}:{port}", namespace))
    return found


class Announcement:
    """What we say of ourselves, built once; `ValueError` for an app id that does not fit.

    `address` is the 4 or 16 bytes of the IP address; `machine` and `pid` tell sidecars of one app apart.
    """

    def __init__(self, app_id: str, namespace: str, address: bytes, port: int, machine: str, pid: int) -> None:
        service = f"{app_id}.local"
        name = f"{machine}:{pid}:{address[-4:].hex()}{port:04x}.{service}"
        target = f"{machine}-{pid}-{port}.local"
        texts = [text.encode() for text in (app_id, f"ns={namespace}")]

        def records(ttl: int, address_ttl: int) -> bytes:
            return response(
                record(service, _PTR, _IN, ttl, encode_name(name)),
                record(name, _SRV, _IN | _TOP_BIT, ttl, struct.pack("!3H", 0, 0, port) + encode_name(target)),
                record(name, _TXT, _IN | _TOP_BIT, ttl, b"".join(bytes((len(t),)) + t for t in texts)),
                record(target, _A if len(address) == 4 else _AAAA, _IN | _TOP_BIT, address_ttl, address),
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
