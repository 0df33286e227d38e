"""The http-wasm handler ABI (https://http-wasm.io/http-handler-abi): what a guest sees of a request and its answer.

A guest exports `memory`, `handle_request` and `handle_response`, and imports functions of the module `http_handler`.
`Turn` is one request in its hands: plain data that the guest's thread reads and changes, and nobody else meanwhile.
Behaviour as of http-wasm-host-go v0.7.0; trailers are never granted.
"""

import re
from collections.abc import Callable
from typing import Any

from pydapr.components.drivers.wasm import Guest, GuestFailed, Runner
from pydapr.net.exchange import Header
from pydapr.observe import logging

log = logging.get("dapr.contrib")

BUFFER_REQUEST, BUFFER_RESPONSE = 1, 2
_GRANTED = BUFFER_REQUEST | BUFFER_RESPONSE

_LEVELS = {-1: logging.DEBUG, 0: logging.INFO, 1: logging.WARNING, 2: logging.ERROR}
_IS_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_TO_BLANKS = bytes.maketrans(b"\r\n\0", b"   ")
_WANTED: tuple[tuple[str, tuple[str, ...], tuple[str, ...], str], ...] = (
    ("handle_request", (), ("i64",), "() -> (i64)"),
    ("handle_response", ("i32", "i32"), (), "(i32, i32) -> ()"),
)
_KINDS = ("request header", "response header", "request trailer", "response trailer")


class Turn:
    """A request on its way through a guest, and what is answered to it."""

    def __init__(self, method: bytes, target: bytes, headers: list[Header], source: str, more: Callable[[], bytes]):
        self.method, self.target, self.headers, self.source = method, target, headers, source
        self.protocol = b"HTTP/1.1"
        self.features = 0
        self.is_after = False
        """Whether the handler behind has been called."""
        self._more = more
        self.unread = b""
        """Bytes of the request that have arrived and that the guest has not read."""
        self.seen = bytearray()
        """Bytes that it has read, kept when it asked for that."""
        self.has_read = self.at_end = False
        self.written: bytearray | None = None
        """The body that it puts in place of the one that came."""
        self.status = 0
        self.answer_headers: list[Header] = []
        self.answer_body = bytearray()
        self.has_written_answer = False
        self.answer_at = 0

    def read_request(self, guest: Guest, size: int) -> tuple[bytes, bool]:
        """Up to `size` bytes of the body of the request, and whether it is at its end."""
        self.has_read = True
        while len(self.unread) < size and not self.at_end:
            piece = self._more()
            guest.renew()
            self.unread += piece
            self.at_end = not piece
        data, self.unread = self.unread[:size], self.unread[size:]
        if self.features & BUFFER_REQUEST:
            self.seen += data
        return data, len(data) < size

    def read_answer(self, size: int) -> tuple[bytes, bool]:
        data = bytes(self.answer_body[self.answer_at : self.answer_at + size])
        self.answer_at += len(data)
        return data, len(data) < size

    def forget_answer(self) -> None:
        """What has come of the answer so far is not worth anything: only what the guest says from here on counts."""
        self.status, self.has_written_answer = 0, False
        self.answer_headers, self.answer_body = [], bytearray()

    def fields(self, kind: int) -> list[Header]:
        if kind > 3:
            raise GuestFailed(f"unsupported header kind: {kind}")
        return self.headers if kind == 0 else self.answer_headers if kind == 1 else []

    def must_change(self, what: str, feature: int = 0) -> None:
        """Raises `GuestFailed` when it is too late for that."""
        if self.is_after and not self.features & feature:
            unless = " unless buffer_response is enabled" if feature == BUFFER_RESPONSE else ""
            unless = " unless buffer_request is enabled" if feature == BUFFER_REQUEST else unless
            raise GuestFailed(f"can't {what} after next handler{unless}")


class HttpGuest(Guest):
    """An instance; `turn` is what it works on."""

    def __init__(self, runner: "HttpRunner") -> None:
        super().__init__(runner)
        self.features = 0
        self.turn: Turn | None = None
        self._runner = runner
        instance = runner.instantiate(self)
        exports: Any = instance.exports(self.store)
        self._handle_request, self._handle_response = exports["handle_request"], exports["handle_response"]

    def handle_request(self, turn: Turn) -> int:
        """The guest's word: 0 when it has answered, otherwise 1 and its own number above. Raises `GuestFailed`."""
        self.turn = turn
        turn.features = self.features
        said = self._runner.call(self, self._handle_request)
        if said is None:
            raise GuestFailed("the guest left while it was asked")
        return int(said) & 0xFFFFFFFFFFFFFFFF

    def handle_response(self, context: int, is_error: bool) -> None:
        """Raises `GuestFailed`."""
        if self.turn is not None:
            self.turn.is_after = True
        context -= (context & 0x80000000) << 1
        self._runner.call(self, self._handle_response, context, int(is_error))

    def let_go(self) -> None:
        """Forgets the request and logs what was written to the outputs meanwhile."""
        self.turn = None
        for name, written in (("stdout", self.out), ("stderr", self.err)):
            if written:
                log.debug(f"wasm {name}: {written.decode('utf-8', 'replace')}")
                written.clear()

    @property
    def now(self) -> Turn:
        if self.turn is None:
            raise GuestFailed("there is no request while the guest starts")
        return self.turn


class HttpRunner(Runner):
    """Makes guests of a module that handles HTTP. Raises `ValueError` when it is none."""

    def __init__(self, code: bytes, strict: bool, config: bytes) -> None:
        super().__init__(code, strict)
        self._config = config
        self._check()
        for name, params, result, function in _FUNCTIONS:
            self.define("http_handler", name, params, result, function)
        self.define("http_handler", "get_config", 2, "i32", self._get_config)

    def make(self) -> HttpGuest:
        return HttpGuest(self)

    def _get_config(self, guest: HttpGuest, at: int, most: int) -> int:
        return _put(guest, at, most, self._config)

    def _check(self) -> None:
        exports: dict[str, Any] = {one.name: one.type for one in self.module.exports}
        for name, params, results, text in _WANTED:
            kind: Any = exports.get(name)
            if not hasattr(kind, "params"):
                raise ValueError(f"guest doesn't export func[{name}]")
            if tuple(map(str, kind.params)) != params or tuple(map(str, kind.results)) != results:
                raise ValueError(f"guest exports the wrong signature for func[{name}]. should be {text}")
        if not hasattr(exports.get("memory"), "limits"):
            raise ValueError("guest doesn't export memory[memory]")


# -- the functions of the ABI, in its order --


def _put(guest: HttpGuest, at: int, most: int, data: bytes) -> int:
    """Writes `data` if it fits, and says how long it is: the guest can come again with more room."""
    if data and len(data) <= most:
        guest.write(at, data)
    return len(data)


def _put_all(guest: HttpGuest, at: int, most: int, values: list[bytes]) -> int:
    if not values:
        return 0
    data = b"".join(value + b"\0" for value in values)
    if len(data) <= most:
        guest.write(at, data)
    return len(values) << 32 | len(data)


def _enable_features(guest: HttpGuest, features: int) -> int:
    if guest.turn is None:
        guest.features |= features & _GRANTED
        return guest.features
    guest.turn.features |= features & _GRANTED
    return guest.turn.features


def _level(level: int) -> int | None:
    return _LEVELS.get(level - (1 << 32) if level >= 1 << 31 else level)


def _log_enabled(guest: HttpGuest, level: int) -> int:
    known = _level(level)
    return int(known is not None and log.is_enabled(known))


def _log(guest: HttpGuest, level: int, at: int, size: int) -> None:
    known = _level(level)
    if known is None or not log.is_enabled(known):
        return
    write = {logging.DEBUG: log.debug, logging.INFO: log.info, logging.WARNING: log.warning}.get(known, log.error)
    write(guest.read(at, size, "message").decode("utf-8", "replace"))


def _get_method(guest: HttpGuest, at: int, most: int) -> int:
    return _put(guest, at, most, guest.now.method)


def _set_method(guest: HttpGuest, at: int, size: int) -> None:
    guest.now.must_change("set method")
    method = guest.read(at, size, "method")
    if not _IS_NAME(method):
        raise GuestFailed("HTTP method cannot be empty" if not method else f"{method!r} is no HTTP method")
    guest.now.method = method


def _get_uri(guest: HttpGuest, at: int, most: int) -> int:
    return _put(guest, at, most, guest.now.target or b"/")


def _set_uri(guest: HttpGuest, at: int, size: int) -> None:
    guest.now.must_change("set uri")
    uri = guest.read(at, size, "uri")
    absolute = re.match(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?]*", uri)
    if absolute:
        uri = uri[absolute.end() :]
        uri = uri if uri.startswith(b"/") else b"/" + uri
    uri = uri or b"/"
    if not uri.startswith(b"/") or any(byte <= 0x20 or byte == 0x7F for byte in uri):
        raise GuestFailed(f"parse {uri.decode('utf-8', 'replace')!r}: invalid URI for request")
    guest.now.target = uri


def _get_protocol_version(guest: HttpGuest, at: int, most: int) -> int:
    return _put(guest, at, most, guest.now.protocol)


def _get_header_names(guest: HttpGuest, kind: int, at: int, most: int) -> int:
    return _put_all(guest, at, most, sorted({name for name, _ in guest.now.fields(kind)}))


def _get_header_values(guest: HttpGuest, kind: int, name: int, name_size: int, at: int, most: int) -> int:
    wanted = _name(guest, name, name_size)
    return _put_all(guest, at, most, [value for known, value in guest.now.fields(kind) if known == wanted])


def _name(guest: HttpGuest, at: int, size: int) -> bytes:
    name = guest.read(at, size, "name").lower()
    if not _IS_NAME(name):
        raise GuestFailed("HTTP header name cannot be empty" if not name else f"{name!r} is no name of a header field")
    return name


def _fields_to_change(guest: HttpGuest, kind: int, verb: str) -> list[Header]:
    fields = guest.now.fields(kind)
    if kind > 1:
        raise GuestFailed("trailers are not supported")
    guest.now.must_change(f"{verb} {_KINDS[kind]}", BUFFER_RESPONSE if kind else 0)
    return fields


def _set_header_value(guest: HttpGuest, kind: int, name: int, name_size: int, at: int, size: int) -> None:
    fields = _fields_to_change(guest, kind, "set")
    known = _name(guest, name, name_size)
    fields[:] = [field for field in fields if field[0] != known]
    fields.append((known, guest.read(at, size, "value").translate(_TO_BLANKS)))


def _add_header_value(guest: HttpGuest, kind: int, name: int, name_size: int, at: int, size: int) -> None:
    fields = _fields_to_change(guest, kind, "add")
    fields.append((_name(guest, name, name_size), guest.read(at, size, "value").translate(_TO_BLANKS)))


def _remove_header(guest: HttpGuest, kind: int, name: int, name_size: int) -> None:
    fields = _fields_to_change(guest, kind, "remove")
    known = _name(guest, name, name_size)
    fields[:] = [field for field in fields if field[0] != known]


def _read_body(guest: HttpGuest, kind: int, at: int, most: int) -> int:
    turn = guest.now
    if not most:
        raise GuestFailed("buf_limit==0 reading body")
    if kind == 0:
        turn.must_change("read request body", BUFFER_REQUEST)
        data, is_end = turn.read_request(guest, most)
    elif kind == 1:
        turn.must_change("read response body", BUFFER_RESPONSE)
        data, is_end = turn.read_answer(most)
    else:
        raise GuestFailed(f"unsupported body kind: {kind}")
    if data:
        guest.write(at, data)
    return is_end << 32 | len(data)


def _write_body(guest: HttpGuest, kind: int, at: int, size: int) -> None:
    turn = guest.now
    if kind == 0:
        turn.must_change("write request body")
        if turn.written is None:
            turn.written = bytearray()
        turn.written += guest.read(at, size, "body")
    elif kind == 1:
        turn.must_change("write response body", BUFFER_RESPONSE)
        if not turn.has_written_answer:
            turn.has_written_answer = True
            turn.answer_body = bytearray()
        turn.answer_body += guest.read(at, size, "body")
    else:
        raise GuestFailed(f"unsupported body kind: {kind}")


def _get_source_addr(guest: HttpGuest, at: int, most: int) -> int:
    return _put(guest, at, most, guest.now.source.encode())


def _get_status_code(guest: HttpGuest) -> int:
    return guest.now.status or 200


def _set_status_code(guest: HttpGuest, status: int) -> None:
    guest.now.must_change("set status code", BUFFER_RESPONSE)
    if not 200 <= status <= 999:
        raise GuestFailed(f"invalid status code {status}")
    guest.now.status = status


_FUNCTIONS: tuple[tuple[str, int, str, Callable[..., int | None]], ...] = (
    ("enable_features", 1, "i32", _enable_features),
    ("log_enabled", 1, "i32", _log_enabled),
    ("log", 3, "", _log),
    ("get_method", 2, "i32", _get_method),
    ("set_method", 2, "", _set_method),
    ("get_uri", 2, "i32", _get_uri),
    ("set_uri", 2, "", _set_uri),
    ("get_protocol_version", 2, "i32", _get_protocol_version),
    ("get_header_names", 3, "i64", _get_header_names),
    ("get_header_values", 5, "i64", _get_header_values),
    ("set_header_value", 5, "", _set_header_value),
    ("add_header_value", 5, "", _add_header_value),
    ("remove_header", 3, "", _remove_header),
    ("read_body", 3, "i64", _read_body),
    ("write_body", 3, "", _write_body),
    ("get_source_addr", 2, "i32", _get_source_addr),
    ("get_status_code", 0, "i32", _get_status_code),
    ("set_status_code", 1, "", _set_status_code),
)
