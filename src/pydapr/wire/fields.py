"""Well-formed HTTP/2 header sections (RFC 9113 section 8): a check each for requests, responses and trailers.

Called by `wire.http2` for each block received. The decoder gives the same tuple for the same block, so a
verdict is remembered by the tuple's identity, next to the tuple itself, which keeps the identity valid.
White space around a value is let through: gRPC has receivers tolerate it (PROTOCOL-HTTP2, "Custom-Metadata").
"""

import re
from typing import Final

from pydapr.wire.hpack import Headers

NO_LENGTH: Final = -1
"""In place of a body size: there was no content-length."""

_BOUND: Final = 1024
_NAME_BOUND: Final = 4096

_ORDINARY: Final = 0
_LENGTH: Final = 1
_TE: Final = 2
_FORBIDDEN: Final = 3
_METHOD: Final = 8
_SCHEME: Final = 16
_PATH: Final = 32
_AUTHORITY: Final = 64
_STATUS: Final = 128
_PSEUDO: Final = _METHOD | _SCHEME | _PATH | _AUTHORITY | _STATUS

_SPECIAL: Final = {
    b"content-length": _LENGTH,
    b"te": _TE,
    b"connection": _FORBIDDEN,
    b"keep-alive": _FORBIDDEN,
    b"proxy-connection": _FORBIDDEN,
    b"transfer-encoding": _FORBIDDEN,
    b"upgrade": _FORBIDDEN,
    b":method": _METHOD,
    b":scheme": _SCHEME,
    b":path": _PATH,
    b":authority": _AUTHORITY,
    b":status": _STATUS,
}
_METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"})

_is_name = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_is_token = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-zA-Z]+").fullmatch
_is_status = re.compile(rb"[1-9][0-9][0-9]").fullmatch
_is_length = re.compile(rb"[0-9]{1,18}").fullmatch

_kinds: dict[bytes, int] = dict(_SPECIAL)
_requests: dict[int, tuple[Headers, int]] = {}
_responses: dict[int, tuple[Headers, tuple[int, int]]] = {}


_GRPC_OK = ((b"grpc-status", b"0"),)
"""What ends nearly every call."""


class Malformed(Exception):
    """The section breaks a rule: the stream ends with PROTOCOL_ERROR (section 8.1.1)."""


def request_length(headers: Headers, remember: bool) -> int:
    """Checks a request; answers what its content-length says, or NO_LENGTH. Raises `Malformed`.

    `remember` tells that this very tuple is likely to come again.
    """
    known = _requests.get(id(headers))
    if known is not None and known[0] is headers:
        return known[1]
    seen, length = _check(headers, _METHOD | _SCHEME | _PATH | _AUTHORITY)
    _check_request_line(headers, seen)
    if remember:
        if len(_requests) >= _BOUND:
            _requests.clear()
        _requests[id(headers)] = (headers, length)
    return length


def response_status(headers: Headers, remember: bool) -> tuple[int, int]:
    """Checks a response; answers its status, and its content-length or NO_LENGTH. Raises `Malformed`."""
    known = _responses.get(id(headers))
    if known is not None and known[0] is headers:
        return known[1]
    seen, length = _check(headers, _STATUS)
    if not seen:
        raise Malformed("no :status")
    status = headers[0][1]
    if not _is_status(status):
        raise Malformed("invalid :status")
    result = (int(status), length)
    if remember:
        if len(_responses) >= _BOUND:
            _responses.clear()
        _responses[id(headers)] = (headers, result)
    return result


def check_trailers(headers: Headers) -> None:
    """Checks trailers. Raises `Malformed`."""
    if headers != _GRPC_OK:
        _check(headers, 0)


def _check_request_line(headers: Headers, seen: int) -> None:
    pseudo = dict(headers[:4])
    method = pseudo.get(b":method", b"")
    if method not in _METHODS and not _is_token(method):
        raise Malformed("no valid :method")
    if method == b"CONNECT":
        if seen != _METHOD | _AUTHORITY:
            raise Malformed("CONNECT takes :authority and nothing else")
        return
    path = pseudo.get(b":path")
    # A space would end the target early when the request travels on as HTTP/1.1.
    if not path or b" " in path:
        raise Malformed("no valid :path")
    if not seen & _SCHEME:
        raise Malformed("no :scheme")


def _check(headers: Headers, allowed: int) -> tuple[int, int]:
    """The rules that all sections share. Answers which pseudo header fields there are, and content-length."""
    seen = 0
    length = NO_LENGTH
    pseudo_over = False
    get = _kinds.get
    for name, value in headers:
        kind = get(name)
        if not kind:
            pseudo_over = True
            if kind is None:
                _classify(name)
        elif kind & _PSEUDO:
            if pseudo_over or not kind & allowed or kind & seen:
                raise Malformed("misplaced, repeated or unexpected pseudo header field")
            seen |= kind
        else:
            pseudo_over = True
            length = _check_special(kind, value, length)
    values = b" ".join([value for _, value in headers])
    if b"\0" in values or b"\n" in values or b"\r" in values:
        raise Malformed("control character in a field value")
    return seen, length


def _check_special(kind: int, value: bytes, length: int) -> int:
    """Fields with a rule of their own; answers content-length as known from here on."""
    if kind == _FORBIDDEN or (kind == _TE and value.lower() != b"trailers"):
        raise Malformed("field that belongs to HTTP/1.1 connections")
    if kind == _LENGTH:
        if not _is_length(value) or length not in (NO_LENGTH, int(value)):
            raise Malformed("invalid content-length")
        return int(value)
    return length


def _classify(name: bytes) -> None:
    """Remembers a name not met before as ordinary, if it is a name. Raises `Malformed`."""
    if not _is_name(name):
        raise Malformed("invalid field name")
    if len(_kinds) >= _NAME_BOUND:
        _kinds.clear()
        _kinds.update(_SPECIAL)
    if len(name) <= 128:
        _kinds[name] = _ORDINARY
