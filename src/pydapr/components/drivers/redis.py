"""Redis for components: metadata under the original's names, and clients that connect again by themselves.

Used by components of every kind that keep something in Redis. `client` makes one of three: for a server, for the one
that sentinels name (both `Server`), or for a cluster (`drivers.redis_cluster`). All have `run` and `servers`.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydapr.components import Wrong, option, options
from pydapr.components.drivers.redis_connection import Command, Connection, Failure, Lost, Reply, connect
from pydapr.lib import durations
from pydapr.lib.record import Record

if TYPE_CHECKING:
    import ssl

    from pydapr.components.drivers.redis_cluster import Cluster

PORT = 6379
CLUSTER = "cluster"
MOVED_ON = ("READONLY", "MASTERDOWN", "LOADING")
"""How failures begin after which the same, asked of the server that is now in charge, may well succeed."""


@options
class Options:
    redis_host: str = option("The server, such as `localhost:6379`; several by commas (cluster, sentinels).")
    redis_port: int = option("The port, where `redisHost` has none.", default=0)
    redis_password: str = option("The password.", default="")
    redis_username: str = option("The user, empty for the default one.", default="")
    redis_db: int = option("The database; clusters have only one.", default=0)
    redis_type: str = option("`node` or `cluster`.", default="node")
    failover: bool = option("`redisHost` names sentinels, which are asked for the server.", default=False)
    sentinel_master_name: str = option("The name under which sentinels know the server.", default="")
    sentinel_username: str = option("The user for sentinels.", default="")
    sentinel_password: str = option("The password for sentinels.", default="")
    enable_tls: bool = option("Speak TLS.", default=False)
    insecure_skip_tls_verify: bool = option("Take any certificate of the server. For tests.", default=False)
    client_cert: str = option("Our certificate, in PEM form.", default="")
    client_key: str = option("The key of our certificate, in PEM form.", default="")
    redis_max_retries: int = option("How often to try again to connect, -1 for never.", default=3)
    redis_min_retry_interval: str = option(
        "The first pause between tries; as all times here, a duration or milliseconds.", default="8ms"
    )
    redis_max_retry_interval: str = option("The longest pause between tries.", default="512ms")
    dial_timeout: str = option("How long connecting may take.", default="5s")
    read_timeout: str = option("How long the server may be silent when it owes an answer, -1 for ever.", default="3s")
    use_entra_id: bool = option(
        "Sign in with Microsoft Entra ID: refused, it is not available.", default=False, aliases=("useAzureAD",)
    )


class Settings(Record):
    """What clients need of the options."""

    addresses: tuple[tuple[str, int], ...]
    username: str = ""
    password: str = ""
    database: int = 0
    is_cluster: bool = False
    sentinel_name: str = ""
    """Whose server to ask sentinels for; empty when there are none."""
    sentinel_username: str = ""
    sentinel_password: str = ""
    tls: bool = False
    skips_verification: bool = False
    certificate: str = ""
    key: str = ""
    tries: int = 4
    pauses: tuple[float, float] = (0.008, 0.512)
    dial_timeout: float = 5.0
    silence: float = 3.0


def settings(given: Options) -> Settings:
    """Raises `Wrong`."""
    if given.use_entra_id:
        raise Wrong("useEntraID: signing in with Microsoft Entra ID is not available")
    addresses = [_address(one.strip(), given.redis_port) for one in given.redis_host.split(",")]
    if given.failover and not given.sentinel_master_name:
        raise Wrong("metadata property sentinelMasterName is required where failover is true")
    if given.failover and given.redis_type == CLUSTER:
        raise Wrong("failover is for a server that sentinels watch; a cluster does without")
    if len(addresses) > 1 and not given.failover and given.redis_type != CLUSTER:
        raise Wrong("redisHost names several servers: set redisType to cluster, or failover to true")
    first = _interval(given.redis_min_retry_interval, 0.008, "redisMinRetryInterval")
    longest = _interval(given.redis_max_retry_interval, 0.512, "redisMaxRetryInterval")
    return Settings(
        addresses=tuple(addresses),
        username=given.redis_username,
        password=given.redis_password,
        database=0 if given.redis_type == CLUSTER else given.redis_db,
        is_cluster=given.redis_type == CLUSTER,
        sentinel_name=given.sentinel_master_name if given.failover else "",
        sentinel_username=given.sentinel_username,
        sentinel_password=given.sentinel_password,
        tls=given.enable_tls,
        skips_verification=given.insecure_skip_tls_verify,
        certificate=given.client_cert,
        key=given.client_key,
        tries=max(given.redis_max_retries, 0) + 1,
        pauses=(first, longest),
        dial_timeout=_interval(given.dial_timeout, 5.0, "dialTimeout"),
        silence=_interval(given.read_timeout, 3.0, "readTimeout"),
    )


def client(wanted: Settings) -> "Server | Cluster":
    if not wanted.is_cluster:
        return Server(wanted)
    from pydapr.components.drivers.redis_cluster import Cluster

    return Cluster(wanted)


def tls_context(wanted: Settings) -> "ssl.SSLContext | None":
    """Raises `ValueError` for a certificate that is none."""
    if not wanted.tls:
        return None
    import ssl

    from pydapr.net import client_tls

    both = wanted.certificate and wanted.key
    made = client_tls.context("", wanted.certificate if both else "", wanted.key if both else "")
    if wanted.skips_verification:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


class Server:
    """A server, and the connection to it. All methods raise `OSError` (`Lost` when it was lost on the way)."""

    def __init__(self, wanted: Settings, tls: "ssl.SSLContext | None" = None) -> None:
        self._settings = wanted
        self._tls = tls
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[Connection] | None = None
        self._is_closed = False

    async def open(self) -> None:
        """Raises `ValueError` too, for a certificate that is none."""
        if self._tls is None:
            self._tls = tls_context(self._settings)
        await self._connect()

    async def close(self) -> None:
        self._is_closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait((self._connecting,))
        if self._connection is not None:
            await self._connection.close()

    async def connection(self) -> Connection:
        """The connection that is in use, for who listens on it; another one once that was lost."""
        return await self._connect()

    async def servers(self) -> "Sequence[Server]":
        """All that hold keys of their own."""
        return (self,)

    async def run(self, key: str, commands: Sequence[Command], *, may_repeat: bool = False) -> list[Reply]:
        """The replies to commands, all of which concern `key`.

        They are asked again, of a new connection, when the server turns out to be in charge no longer; with
        `may_repeat` also when the connection is lost on the way.
        """
        connection = self._connection
        if connection is None or connection.is_lost:
            connection = await self._connect()
        try:
            replies = await connection.ask(commands)
        except Lost:
            if not may_repeat or self._is_closed:
                raise
        else:
            first = replies[0]
            if not isinstance(first, Failure) or not str(first).startswith(MOVED_ON):
                return replies
            connection.drop(str(first))
        return await (await self._connect()).ask(commands)

    async def _connect(self) -> Connection:
        """A new connection, one for all who wait for it."""
        if self._is_closed:
            raise OSError("the connection to Redis was closed")
        if self._connection is not None and not self._connection.is_lost:
            return self._connection
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._try_to_connect())
        try:
            return await asyncio.shield(self._connecting)
        except asyncio.CancelledError:
            if self._is_closed:
                raise OSError("the connection to Redis was closed") from None
            raise

    async def _try_to_connect(self) -> Connection:
        first, longest = self._settings.pauses
        for number in range(self._settings.tries):
            try:
                self._connection = await self._connect_once()
            except OSError:
                if number == self._settings.tries - 1:
                    raise
            else:
                return self._connection
            pause = min(first * 2**number, longest)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
        raise AssertionError  # the last try has returned or raised

    async def _connect_once(self) -> Connection:
        wanted = self._settings
        greeting: list[Command] = _sign_in(wanted.username, wanted.password)
        if wanted.database:
            greeting.append(("SELECT", wanted.database))
        host, port = await self._find() if wanted.sentinel_name else wanted.addresses[0]
        try:
            return await self._dial(host, port, greeting)
        except Failure as error:
            raise OSError(f"redis store: error connecting to redis at {host}:{port}: {error}") from None
        except OSError as error:
            raise OSError(f"redis store: error connecting to redis at {host}:{port}: {error}") from error

    async def _find(self) -> tuple[str, int]:
        """Where the server is that sentinels watch."""
        wanted, name = self._settings, self._settings.sentinel_name
        reasons: list[str] = []
        for host, port in wanted.addresses:
            try:
                sentinel = await self._dial(host, port, _sign_in(wanted.sentinel_username, wanted.sentinel_password))
                try:
                    [reply] = await sentinel.ask([("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)])
                finally:
                    await sentinel.close()
            except (OSError, Failure) as error:
                reasons.append(f"{host}:{port}: {error}")
                continue
            if isinstance(reply, list):
                return reply[0].decode(), int(reply[1])
            reasons.append(f"{host}:{port}: {reply or f'knows no {name}'}")
        raise OSError(f"no sentinel tells where {name} is: {'; '.join(reasons)}")

    async def _dial(self, host: str, port: int, greeting: Sequence[Command]) -> Connection:
        wanted = self._settings
        return await connect(host, port, greeting, tls=self._tls, within=wanted.dial_timeout, silence=wanted.silence)


def _sign_in(username: str, password: str) -> list[Command]:
    if not password:
        return []
    return [("AUTH", username, password) if username else ("AUTH", password)]


def _address(text: str, port: int) -> tuple[str, int]:
    """Raises `Wrong`."""
    host, colon, own = text.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        return text.strip("[]"), port or PORT
    if not own.isdecimal() or not 0 < int(own) < 65536:
        raise Wrong(f"metadata property redisHost: {own!r} is no port")
    if port and int(own) != port:
        raise Wrong(
            f'redis host "{text}" already contains port {own}, but redisPort is set to {port}; '
            "either remove the port from redisHost or remove the redisPort setting"
        )
    return host.strip("[]"), int(own)


def _interval(text: str, default: float, name: str) -> float:
    """Seconds in a duration or a number of milliseconds; 0, which is no limit, for what is negative. Raises `Wrong`."""
    if text in ("", "0"):
        return default
    try:
        seconds = int(text) / 1000 if text.lstrip("-").isdecimal() else durations.parse(text)
    except ValueError:
        raise Wrong(f"metadata property {name}: {text!r} is no duration") from None
    return max(seconds, 0.0)
