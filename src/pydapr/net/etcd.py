"""A client of etcd's gRPC API, version 3: calls and streams to one of several endpoints, to another when that fails.

Used by `state.etcd` and by a scheduler whose jobs are in etcd. Messages are those of `proto/etcd/rpc.proto`.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from pydapr.errors import Code, RpcError
from pydapr.net import dial, grpc_client, http2_client, http2_pool
from pydapr.wire import http2

if TYPE_CHECKING:
    from google.protobuf.message import Message

    M = TypeVar("M", bound=Message)

SECONDS = 5.0
"""How long a call may take, as in the original."""

_PATIENCE = http2_pool.Patience(connect=SECONDS, asks=False)
"""Servers of etcd take questions for a sign of life for an attack when nothing is under way, and end the connection."""

_NOT_ENABLED = "authentication is not enabled"
_TOKEN_ENDED = ("invalid auth token", "revision of auth store is old")


class Failed(Exception):
    """The servers did not do it. With `is_passing` none of them gave an answer, and it may have been done, unless it
    was not even sent (`is_unsent`)."""

    def __init__(self, message: str, is_passing: bool, code: int = Code.UNKNOWN, is_unsent: bool = False) -> None:
        super().__init__(message)
        self.is_passing, self.code, self.is_unsent = is_passing, code, is_unsent


def address(endpoint: str) -> str:
    """`host:port` of an endpoint, which may be a URL. Raises `ValueError`."""
    found = (endpoint.strip().partition("://")[2] or endpoint.strip()).rstrip("/")
    dial.split(found)
    return found


def behind(prefix: bytes) -> bytes:
    """The end of the range of all keys that begin with `prefix`."""
    end = prefix.rstrip(b"\xff")
    return end[:-1] + bytes([end[-1] + 1]) if end else b"\0"


class Client:
    """Connections to the endpoints (`address`), with a login if there is a `username`."""

    def __init__(
        self,
        endpoints: Sequence[str],
        connect: http2_pool.Connector = dial.address,
        with_tls: bool = False,
        username: str = "",
        password: str = "",
        max_message: int = grpc_client.MAX_MESSAGE,
    ) -> None:
        self._endpoints = list(endpoints)
        self._with_tls = with_tls
        self._login = (username, password)
        self._token = b""
        self._max = max_message
        self._pool = http2_pool.Pool(connect, http2.Limits(), _PATIENCE)

    def close(self) -> None:
        self._pool.close()

    async def call(self, method: str, request: "Message", answer: "type[M]", may_repeat: bool = False) -> "M":
        """What one of the servers answers to `method` (`KV/Range`), which another is asked again if it `may_repeat`.

        Raises `Failed`.
        """
        reason, is_unsent = "", True
        for endpoint in tuple(self._endpoints):
            try:
                return await self._call(endpoint, method, request, answer)
            except http2_pool.Unreachable as error:
                reason = str(error)
            except RpcError as fault:
                if fault.code not in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
                    raise Failed(fault.message, False, fault.code) from None
                reason, is_unsent = fault.message, False
                if not may_repeat:
                    self._put_last(endpoint)
                    break
            self._put_last(endpoint)
        raise Failed(reason, True, Code.UNAVAILABLE, is_unsent)

    async def stream(self, method: str) -> grpc_client.Stream:
        """A call with messages in both directions, which raises `RpcError`; to be closed. Raises `Failed`."""
        reason = ""
        for endpoint in tuple(self._endpoints):
            try:
                connection = await self._connection(endpoint)
                token = await self._authenticated(endpoint, connection)
            except http2_pool.Unreachable as error:
                reason = str(error)
            except RpcError as fault:
                reason = fault.message
            else:
                return grpc_client.Stream(connection, _path(method), endpoint, self._with_tls, token, self._max)
            self._put_last(endpoint)
        raise Failed(reason, True, Code.UNAVAILABLE, True)

    def forget_token(self) -> None:
        """Has the next call log in again."""
        self._token = b""

    # -- within --

    async def _call(self, endpoint: str, method: str, request: "Message", answer: "type[M]") -> "M":
        """Raises `Unreachable`, `RpcError`."""
        connection = await self._connection(endpoint)
        data = request.SerializeToString()
        for may_log_in_again in (True, False):
            token = await self._authenticated(endpoint, connection)
            try:
                return _decoded(answer, await self._send(connection, endpoint, method, data, token))
            except RpcError as fault:
                if not (may_log_in_again and self._token and any(one in fault.message for one in _TOKEN_ENDED)):
                    raise
                self._token = b""
        raise AssertionError("the second attempt returns or raises")

    async def _send(
        self,
        connection: http2_client.ClientConnection,
        endpoint: str,
        method: str,
        data: bytes,
        token: Sequence[tuple[bytes, bytes]],
    ) -> bytes:
        try:
            return await grpc_client.call(
                connection, _path(method), endpoint, data, SECONDS, self._with_tls, token, max_message=self._max
            )
        except RpcError as fault:
            if fault.code == Code.DEADLINE_EXCEEDED:
                connection.retire()  # whoever is there does not answer on it, and may be gone
            raise

    async def _connection(self, endpoint: str) -> http2_client.ClientConnection:
        """Raises `Unreachable`."""
        try:
            async with asyncio.timeout(SECONDS):
                return await self._pool.connection(endpoint)
        except TimeoutError:
            raise http2_pool.Unreachable(f"no connection to {endpoint} within {SECONDS:g} s") from None

    async def _authenticated(
        self, endpoint: str, connection: http2_client.ClientConnection
    ) -> Sequence[tuple[bytes, bytes]]:
        """The header fields that say who we are. Raises `RpcError`."""
        name, password = self._login
        if not name:
            return ()
        if not self._token:
            from pydapr.proto.etcd import rpc_pb2

            asked = rpc_pb2.AuthenticateRequest(name=name, password=password).SerializeToString()
            try:
                data = await self._send(connection, endpoint, "Auth/Authenticate", asked, ())
            except RpcError as fault:
                if _NOT_ENABLED in fault.message:
                    return ()
                raise
            self._token = _decoded(rpc_pb2.AuthenticateResponse, data).token.encode()
        return ((b"token", self._token),)

    def _put_last(self, endpoint: str) -> None:
        """Who answers is asked first the next time."""
        self._endpoints = [*(one for one in self._endpoints if one != endpoint), endpoint]


def _path(method: str) -> bytes:
    return f"/etcdserverpb.{method}".encode()


def _decoded(answer: "type[M]", data: bytes) -> "M":
    """Raises `RpcError`."""
    from google.protobuf.message import DecodeError

    try:
        return answer.FromString(data)
    except DecodeError as error:
        raise RpcError(Code.INTERNAL, f"the answer makes no sense: {error}") from None
