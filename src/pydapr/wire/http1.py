"""HTTP/1.1 on the wire: requests and responses read with httptools, heads and chunks written as bytes.

Called by `net.http1`, which moves the bytes; nothing here knows a socket. A reader is fed bytes and calls
its receiver back: head, pieces of the body, end. What the parser would let pass but a gateway must not is
refused here: control characters, ambiguous lengths, heads that are too large.
"""

import re
from collections.abc import Sequence
from typing import Any, Protocol

import httptools

from pydapr.wire import headers as names

Header = tuple[bytes, bytes]

CHUNK_END = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

REASONS = {
    100: b"Continue", 101: b"Switching Protocols", 102: b"Processing", 103: b"Early Hints",
    200: b"OK", 201: b"Created", 202: b"Accepted", 203: b"Non-Authoritative Information",
    204: b"No Content", 205: b"Reset Content", 206: b"Partial Content", 207: b"Multi-Status",
    208: b"Already Reported", 226: b"IM Used",
    300: b"Multiple Choices", 301: b"Moved Permanently", 302: b"Found", 303: b"See Other",
    304: b"Not Modified", 305: b"Use Proxy", 307: b"Temporary Redirect", 308: b"Permanent Redirect",
    400: b"Bad Request", 401: b"Unauthorized", 402: b"Payment Required", 403: b"Forbidden",
    404: b"Not Found", 405: b"Method Not Allowed", 406: b"Not Acceptable",
    407: b"Proxy Authentication Required", 408: b"Request Timeout", 409: b"Conflict", 410: b"Gone",
    411: b"Length Required", 412: b"Precondition Failed", 413: b"Request Entity Too Large",
    414: b"Request URI Too Long", 415: b"Unsupported Media Type",
    416: b"Requested Range Not Satisfiable", 417: b"Expectation Failed", 418: b"I'm a teapot",
    421: b"Misdirected Request", 422: b"Unprocessable Entity", 423: b"Locked", 424: b"Failed Dependency",
    425: b"Too Early", 426: b"Upgrade Required", 428: b"Precondition Required",
    429: b"Too Many Requests", 431: b"Request Header Fields Too Large",
    451: b"Unavailable For Legal Reasons",
    500: b"Internal Server Error", 501: b"Not Implemented", 502: b"Bad Gateway",
    503: b"Service Unavailable", 504: b"Gateway Timeout", 505: b"HTTP Version Not Supported",
    506: b"Variant Also Negotiates", 507: b"Insufficient Storage", 508: b"Loop Detected",
    510: b"Not Extended", 511: b"Network Authentication Required",
}  # fmt: skip

_NOTED = names.FRAMING | names.TRACE

_STATUS_LINES = {
    code: b"HTTP/1.1 %d %s\r\n" % (code, REASONS.get(code, b"status code %d" % code)) for code in range(100, 1000)
}


class Malformed(Exception):
    """The peer sent what is not HTTP/1.1, or more than the limits allow.

    `status` is what a server answers before it closes the connection.
    """

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


class UnknownMethod(Malformed):
    """A method that llhttp does not know; see `RequestReader.renamed`."""


class RequestReceiver(Protocol):
    """Who owns a `RequestReader`: one call per part of a message, in order.

    An end without a head before it has no meaning and is passed over.
    """

    def head_received(self, reader: "RequestReader") -> None: ...
    def body_received(self, data: bytes) -> None: ...
    def message_ended(self) -> None: ...


class ResponseReceiver(Protocol):
    """Who owns a `ResponseReader`."""

    def head_received(self, reader: "ResponseReader") -> None: ...
    def body_received(self, data: bytes) -> None: ...
    def message_ended(self) -> None: ...


class _Reader:
    """What both directions share: the head is collected, bounded and checked; the rest is passed on."""

    __slots__ = (
        "_fault", "_fed", "_first", "_limit", "_parser", "_size",
        "chunked", "content_length", "headers", "in_head", "keep_alive", "upgrade",
    )  # fmt: skip

    _parser: Any

    def __init__(self, max_head: int) -> None:
        self._limit = max_head
        # What a callback has ended the parsing with.
        self._fault: Exception | None = None
        # Bytes fed in the turns since the head began without this one, in the first of them, and in this turn.
        self._size = self._first = self._fed = 0
        self.headers: list[Header] = []
        self.content_length: int | None = None
        self.chunked = self.in_head = self.keep_alive = self.upgrade = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.in_head:
            return  # a trailer field: hop by hop here, as with the original
        lower = names.LOWER.get(name) or names.lower(name)
        value = value.rstrip()  # llhttp takes the blanks before a value off, not those behind it
        self.headers.append((lower, value))
        if lower in _NOTED:
            self._note(lower, value)

    def _note(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            if self.content_length is not None:
                raise self._stop(Malformed("more than one Content-Length"))
            if not value.isdigit():
                raise self._stop(Malformed(f"bad Content-Length {value[:40]!r}"))
            self.content_length = int(value)
        elif name == b"transfer-encoding":
            if self.chunked or value.lower() != b"chunked":
                raise self._stop(Malformed(f"unsupported transfer encoding: {value[:40].decode('latin-1')!r}", 501))
            self.chunked = True
        elif name == b"upgrade":
            self.upgrade = True

    def _head_ended(self) -> None:
        self.in_head = False
        if self._size + self._fed > self._limit:
            self._check_size()
        if self.chunked and self.content_length is not None:
            raise self._stop(Malformed("both Content-Length and Transfer-Encoding"))

    def close(self) -> None:
        """Nothing more comes. The parser knows this object: without it, both go as soon as nobody needs them."""
        self._parser = None

    def _feed(self, data: bytes) -> bytes | None:
        """Parses `data`; what follows a message that asked for an upgrade, None when there was none."""
        if self.in_head:
            if not self._size:
                self._first = self._fed
            self._size += self._fed
        self._fed = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            return data[stop.args[0] :]
        except httptools.HttpParserCallbackError as ours:
            fault, self._fault = self._fault, None
            raise (fault or ours.__context__ or ours) from None
        except httptools.HttpParserError as error:
            reason = str(error)
            if isinstance(error, httptools.HttpParserInvalidMethodError) or reason.startswith("Invalid method"):
                raise UnknownMethod(reason) from None
            raise Malformed(reason) from None
        if self.in_head and self._size + self._fed > self._limit:
            self._check_size()
        return None

    def _stop(self, fault: Exception) -> Exception:
        """`fault`, to be raised by a callback. httptools hands it on as the context of its own error, where it is lost
        while a compiled coroutine waits in a handler of another one: mypyc leaves that as what is being handled."""
        self._fault = fault
        return fault

    def _check_size(self) -> None:
        """What was fed may be a head that is too large, or an ordinary one beside bodies: now it pays to count."""
        seen = sum([len(name) + len(value) + 4 for name, value in self.headers])
        # In its first turn the head may stand behind a body.
        if seen > self._limit or self._size - self._first > self._limit:
            raise self._stop(Malformed("header fields too large", 431))


class RequestReader(_Reader):
    """Reads requests one after the other from one connection."""

    __slots__ = (
        "_is_held",
        "_named",
        "_receiver",
        "_target",
        "context",
        "expects_continue",
        "http10",
        "method",
        "on_body",
        "on_message_complete",
        "target",
    )

    def __init__(self, receiver: RequestReceiver, max_head: int = 8192) -> None:
        super().__init__(max_head)
        self._receiver = receiver
        self._target: list[bytes] = []
        self.method = self.target = b""
        self.http10 = self.expects_continue = False
        # What the client says of a trace, () as a rule.
        self.context: tuple[Header, ...] = ()
        # Whether the head was read and its body is still to come, through another parser.
        self._is_held = False
        # The method of the request to come, if it goes by another name here.
        self._named = b""
        # Bound once: httptools calls them straight, without a frame of ours in between.
        self.on_body = receiver.body_received
        self.on_message_complete = receiver.message_ended
        self._parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self.in_head = True
        self._size = 0
        self.headers = []
        self.content_length = None
        self._target = []
        self.context = ()
        self.chunked = self.upgrade = self.expects_continue = False

    def on_url(self, piece: bytes) -> None:
        self._target.append(piece)

    def on_headers_complete(self) -> None:
        parser = self._parser
        self._head_ended()
        pieces = self._target
        self.target = target = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if len(target) > self._limit:
            raise self._stop(Malformed("request target too large", 431))
        self.method = method = parser.get_method()
        self.keep_alive = parser.should_keep_alive()
        self.http10 = False
        if parser.get_http_version() != "1.1":
            self._check_version(parser.get_http_version())
        if self._named:
            self.method, self._named = self._named, b""
        if target[0] != _SLASH:
            self._take_host()
        if self.upgrade or method == b"CONNECT":  # which is an upgrade too for llhttp
            self.upgrade = parser.should_upgrade()
            if self.upgrade and (self.chunked or self.content_length):
                self._is_held = True
                return
        self._receiver.head_received(self)

    def _check_version(self, version: str) -> None:
        if version != "1.0":
            raise self._stop(Malformed(f"unsupported protocol version {version}", 505))
        if self.chunked:
            raise self._stop(Malformed("Transfer-Encoding with HTTP/1.0"))
        self.http10 = True
        self.expects_continue = False

    def _take_host(self) -> None:
        """Absolute form (RFC 9112 section 3.2.2): the target's host replaces the Host field."""
        scheme, colon, rest = self.target.partition(b"://")
        if self.method == b"CONNECT" or self.target == b"*":
            return
        if not colon or not scheme.isalpha():
            raise self._stop(Malformed("invalid URI for request"))
        authority = _authority_end.split(rest, 1)[0]
        path = rest[len(authority) :]
        self.target = path if path[:1] == b"/" else b"/" + path
        self.headers = [header for header in self.headers if header[0] != b"host"]
        self.headers.append((b"host", authority.rpartition(b"@")[2]))

    def _note(self, name: bytes, value: bytes) -> None:
        if name == b"expect":
            if value.lower() != b"100-continue":
                raise self._stop(Malformed("unknown expectation", 417))
            self.expects_continue = True
        elif name in names.TRACE:
            self.context = (*self.context, (name, value))
        else:
            super()._note(name, value)

    def feed(self, data: bytes) -> bytes | None:
        """Parses `data` and calls the receiver.

        Returns None, or what follows a request that asked for an upgrade: whoever does not take the upgrade
        feeds these bytes again. Raises `Malformed`; the connection is then of no more use.
        """
        rest = self._feed(data)
        if rest is not None:
            if self._is_held:
                self._read_held()
            else:
                self._parser = httptools.HttpRequestParser(self)
        return rest

    def _read_held(self) -> None:
        """Has the body read of a request with an upgrade; llhttp holds it for the other protocol's bytes."""
        self._is_held = False
        self._parser = httptools.HttpRequestParser(_AfterHead(self))
        if self.chunked:
            framing = b"Transfer-Encoding: chunked"
        else:
            framing = b"Content-Length: %d" % (self.content_length or 0)
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
        self._receiver.head_received(self)

    def renamed(self, data: bytes) -> bytes | None:
        """Makes a request readable that `feed` refused with `UnknownMethod`: feed the result instead of `data`.

        `data` has to begin where the request begins. None if its method is not at fault.
        """
        match = _method_in(data)
        if match is None or self._size or _is_known(match[1]):
            return None
        self._named = match[1]
        self._parser = httptools.HttpRequestParser(self)
        return b"POST" + data[match.end(1) :]


_SLASH = ord("/")
_authority_end = re.compile(rb"[/?#]")
_method_in = re.compile(rb"[\r\n]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ").match


def _is_known(method: bytes) -> bool:
    """Whether llhttp knows `method`."""
    try:
        httptools.HttpRequestParser(object()).feed_data(method + b" / HTTP/1.1\r\n\r\n")
    except httptools.HttpParserUpgrade:
        return True
    except httptools.HttpParserError:
        return False
    return True


class _AfterHead:
    """Calls of a parser whose first head is made up to stand before a body; all that follows goes to the reader."""

    __slots__ = ("_is_made_up", "_reader", "on_body", "on_message_complete")

    def __init__(self, reader: RequestReader) -> None:
        self._reader = reader
        self._is_made_up = True
        self.on_body = reader.on_body
        self.on_message_complete = reader.on_message_complete

    def on_message_begin(self) -> None:
        if not self._is_made_up:
            self._reader.on_message_begin()

    def on_url(self, piece: bytes) -> None:
        if not self._is_made_up:
            self._reader.on_url(piece)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_made_up:
            self._reader.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_made_up:
            self._is_made_up = False
        else:
            self._reader.on_headers_complete()


class ResponseReader(_Reader):
    """Reads the responses to requests sent on one connection; `expect` is called before each."""

    __slots__ = ("_bodyless", "_receiver", "on_body", "status")

    def __init__(self, receiver: ResponseReceiver, max_head: int = 1 << 20) -> None:
        super().__init__(max_head)
        self._receiver = receiver
        self._bodyless = False
        self.status = 0
        self.on_body = receiver.body_received
        self._parser = httptools.HttpResponseParser(self)

    def expect(self, bodyless: bool) -> None:
        """The next response answers a request; `bodyless` after HEAD, whose lengths tell of no body here."""
        self._bodyless = bodyless

    def on_message_begin(self) -> None:
        self.in_head = True
        self._size = 0
        self.headers = []
        self.content_length = None
        self.chunked = self.upgrade = False

    def on_headers_complete(self) -> None:
        self._head_ended()
        self.status = self._parser.get_status_code()
        if self.status == 101:
            # Nobody asked for another protocol: it is the answer, and nothing that follows is looked at.
            self.keep_alive = False
            self._receiver.head_received(self)
            raise self._stop(_NoBody())
        if self.status < 200:
            return
        self.keep_alive = self._parser.should_keep_alive()
        self._receiver.head_received(self)
        if self._bodyless:
            raise self._stop(_NoBody())

    def on_message_complete(self) -> None:
        if self.status >= 200:
            self._receiver.message_ended()

    @property
    def ends_with_connection(self) -> bool:
        """Whether the body has no length of its own and lasts until the peer closes."""
        return not self.chunked and self.content_length is None and self.status not in (204, 304)

    def feed(self, data: bytes) -> None:
        """Parses `data` and calls the receiver. Raises `Malformed`."""
        try:
            self._feed(data)
        except _NoBody:
            # llhttp cannot be told that a response has no body, so it starts anew after the head.
            self._parser = httptools.HttpResponseParser(self)
            self._bodyless = False
            self._receiver.message_ended()


class _NoBody(Exception):
    """Stops the parser after the head of a response that has no body."""


def request_head(method: bytes, target: bytes, headers: Sequence[Header]) -> bytes:
    """The head of a request, names in canonical case. `headers` holds Host and the framing."""
    lines = _lines
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (
        method,
        target,
        b"".join([lines.get(header) or _line(header) for header in headers]),
    )


def response_head(status: int, headers: Sequence[Header], extra: bytes) -> bytes:
    """The head of a response; `extra` holds whole lines (framing, date) that the connection adds."""
    lines = _lines
    return b"%b%b%b\r\n" % (
        _STATUS_LINES[status],
        b"".join([lines.get(header) or _line(header) for header in headers]),
        extra,
    )


_NO_TRACE = b"00-00000000000000000000000000000000-0000000000000000-00"
_lines: dict[Header, bytes] = {}
_BOUND = 4096
_LONGEST = 256
_TO_BLANKS = bytes.maketrans(b"\r\n\0", b"   ")
_is_name = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch


def _line(header: Header) -> bytes:
    """A header field as a line, remembered unless it is long.

    What would be more than a line is made one, and what is no name is left out, as Go's client and server do:
    other sidecars send fields in messages that may hold any bytes.
    """
    name, value = header
    if name == b"traceparent" and b"\n" not in value and b"\r" not in value and b"\0" not in value:
        line = b"Traceparent: %b\r\n" % value
        if value == _NO_TRACE:  # the one that comes again and again
            _lines[header] = line
        return line
    if not names.is_clean(value):
        value = value.translate(_TO_BLANKS)
    line = b"%b: %b\r\n" % (names.CANONICAL.get(name) or names.canonical(name), value) if _is_name(name) else b""
    if len(line) <= _LONGEST and name not in names.VOLATILE:
        if len(_lines) >= _BOUND:
            _lines.clear()
        _lines[header] = line
    return line


def chunk(data: bytes) -> bytes:
    """`data`, not empty, as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)
