"""How an app is given a job that is due, over HTTP or gRPC. Used by `blocks.jobs`, made by `daprd.jobs`.

Over HTTP a job is posted to `/job/<name>`; over gRPC it comes by OnJobEvent, for apps from before that by
OnJobEventAlpha1. Rules are the original's (v1.18.3, `pkg/channel/http`, `pkg/channel/grpc`), but for names with a
percent sign, which come whole.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from pydapr.app.channel import AppChannel, AppUnreachable, Call
from pydapr.app.grpc import ALPHA_CALLBACK, CALLBACK, GrpcApp, Turns
from pydapr.errors import Code, RpcError
from pydapr.net.body import Body, BodyError

if TYPE_CHECKING:
    from google.protobuf import struct_pb2

VALUE = "type.googleapis.com/google.protobuf.Value"
"""Data that were given as JSON."""

_JSON = ((b"content-type", b"application/json"),)
_SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""What Go takes for white space."""

_BIGGEST = 1e21
"""Whole numbers below this are written without a point or an exponent."""

_REST = 64 * 1024
_REST_SECONDS = 1.0
"""What is read of an answer's body, so that its connection can be used again, and how long."""


class Failed(Exception):
    """The app could not be called, or not with these data. The message is the reason."""


class App(Protocol):
    """An app as jobs see it."""

    async def trigger(self, name: str, type_url: str, value: bytes) -> int:
        """The gRPC code that the app's answer to a job amounts to; `type_url` and `value` are the job's data.
        Raises `Failed`."""


class HttpApp:
    """An app that speaks HTTP. `channel` gives the way to it, None while there is none."""

    def __init__(self, channel: Callable[[], AppChannel | None]) -> None:
        self._channel = channel

    async def trigger(self, name: str, type_url: str, value: bytes) -> int:
        channel = self._channel()
        if channel is None:
            raise Failed("received job, but app channel not initialized")
        path = f"job/{name.removeprefix('/').replace('%', '%25')}"
        try:
            answer = await channel.invoke(Call(b"POST", path, b"", _JSON, Body.of(body(type_url, value)), True))
        except (AppUnreachable, RpcError, BodyError) as error:
            text = f"error returned from app channel while sending triggered job to app: {error}"
            raise Failed(text) from None
        if not answer.body.ended:
            with contextlib.suppress(BodyError, TimeoutError):
                async with asyncio.timeout(_REST_SECONDS):
                    await answer.body.read_all(_REST)
        answer.close()
        if 200 <= answer.status < 300:
            return Code.OK
        return Code.NOT_FOUND if answer.status == 404 else Code.UNKNOWN


class RpcApp:
    """An app that speaks gRPC. `turns` bounds how many calls it gets at a time."""

    def __init__(self, app: GrpcApp, turns: Turns | None = None) -> None:
        self._app = app
        self._turns: Turns = turns if turns is not None else contextlib.nullcontext()
        self._is_alpha = False
        """Whether the app took the last job by the older method."""

    async def trigger(self, name: str, type_url: str, value: bytes) -> int:
        from google.protobuf import any_pb2

        from pydapr.proto.dapr.proto.common.v1 import common_pb2
        from pydapr.proto.dapr.proto.runtime.v1 import appcallback_pb2

        request = appcallback_pb2.JobEventRequest(
            name=name,
            data=any_pb2.Any(type_url=type_url, value=value) if type_url or value else None,
            method=f"job/{name}",
            content_type=type_url,
            http_extension=common_pb2.HTTPExtension(verb=common_pb2.HTTPExtension.POST),
        )
        message = request.SerializeToString()
        async with self._turns:
            is_alpha = self._is_alpha
            code = await self._call(message, is_alpha)
            if code == Code.UNIMPLEMENTED:
                self._is_alpha = not is_alpha
                code = await self._call(message, not is_alpha)
        return code

    async def _call(self, message: bytes, is_alpha: bool) -> int:
        service, name = (ALPHA_CALLBACK, b"OnJobEventAlpha1") if is_alpha else (CALLBACK, b"OnJobEvent")
        try:
            await self._app.callback(name, message, (), service)
        except RpcError as error:
            return error.code
        return Code.OK


def body(type_url: str, value: bytes) -> bytes:
    """A job's data as an HTTP app gets them: JSON that was given as JSON, all else as it is. Raises `Failed`."""
    if type_url != VALUE:
        return value.decode("utf-8", "surrogateescape").strip(_SPACES).encode("utf-8", "surrogateescape")
    from google.protobuf import struct_pb2
    from google.protobuf.message import DecodeError

    try:
        found = struct_pb2.Value.FromString(value)
        if found.WhichOneof("kind") is None:
            return b""
        text = json.dumps(_plain(found), ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
        return text.encode()
    except (DecodeError, ValueError, RecursionError) as error:
        raise Failed(f"the job's data are no JSON value: {error}") from None


def _plain(value: "struct_pb2.Value") -> object:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return {name: _plain(inner) for name, inner in value.struct_value.fields.items()}
    if kind == "list_value":
        return [_plain(inner) for inner in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() and abs(number) < _BIGGEST else number
    if kind == "string_value":
        return value.string_value
    return value.bool_value if kind == "bool_value" else None
