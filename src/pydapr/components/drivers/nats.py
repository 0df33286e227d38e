"""A connection to NATS for components, made again after every loss. Home of `nats-py` (an extra).

Used by `pubsub.jetstream` and `state.jetstream`. Who we are is said by a JWT with its seed, by a client certificate, or
by a token.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

from pydapr.components import Wrong
from pydapr.lib.record import Record
from pydapr.observe import logging

if TYPE_CHECKING:
    import ssl

    from nats.aio.client import Client

log = logging.get("dapr.contrib")

CONNECT_SECONDS = 2
"""How long a server may take; NATS tries the next one after that."""

ANSWER_SECONDS = 5.0
RECONNECT_SECONDS = 0.5
CLOSING_SECONDS = 5.0


class Failed(Exception):
    """NATS did not do it. `is_passing` says that trying again may help, `is_missing` that what was asked for is not
    there."""

    def __init__(self, message: str, *, is_passing: bool = False, is_missing: bool = False) -> None:
        super().__init__(message)
        self.is_passing, self.is_missing = is_passing, is_missing


class Place(Record):
    """Where servers are, by commas, and who we are there. Certificate and key are paths of files."""

    url: str
    name: str
    jwt: str = ""
    seed_key: str = ""
    token: str = ""
    certificate: str = ""
    key: str = ""


def check(where: Place) -> None:
    """Raises `Wrong`."""
    if where.jwt and not where.seed_key:
        raise Wrong("missing seed key")
    if where.seed_key and not where.jwt:
        raise Wrong("missing jwt")
    if where.certificate and not where.key:
        raise Wrong("missing tls client key")
    if where.key and not where.certificate:
        raise Wrong("missing tls client cert")


async def connect(where: Place, again: Callable[[], Awaitable[None]] | None = None) -> "Client":
    """A connection that nothing but closing ends; `again` is called each time that it was made anew.

    Raises `OSError`, `ValueError`.
    """
    try:
        import nats.errors
        from nats.aio.client import Client
    except ImportError:
        raise OSError("NATS needs the library nats-py: pip install 'pydapr[nats]'") from None

    last = ["nats: no servers available for connection"]

    async def failed(error: Exception) -> None:
        text = str(error) or repr(error)
        if "authorization" not in last[0].lower():  # what follows that is a connection that was reset
            last[0] = text
        log.warning(text)

    async def lost() -> None:
        if not made.is_closed:
            log.warning("nats: the connection was lost")

    async def back() -> None:
        log.info("nats: connected again")
        if again is not None:
            await again()

    who = _who(where)
    made = Client()
    servers = [one.strip() for one in where.url.split(",")]
    try:
        # The library tries the first connection as often as all others: it must not do so for ever.
        async with asyncio.timeout(CONNECT_SECONDS * len(servers) + 1):
            await made.connect(
                servers=servers,
                name=where.name,
                error_cb=failed,
                disconnected_cb=lost,
                reconnected_cb=back,
                allow_reconnect=True,
                connect_timeout=CONNECT_SECONDS,
                reconnect_time_wait=RECONNECT_SECONDS,  # type: ignore[arg-type]  # it is only slept for
                max_reconnect_attempts=-1,
                **who,
            )
    except BaseException as error:
        with contextlib.suppress(nats.errors.Error, OSError, AssertionError):  # the last where it had not begun
            await made.close()
        if isinstance(error, TimeoutError):
            raise OSError(last[0]) from None
        if isinstance(error, nats.errors.Error | OSError | ValueError):
            raise OSError(str(error) or repr(error)) from None
        raise
    return made


def _who(where: Place) -> dict[str, Any]:
    """Raises `OSError`, `ValueError`."""
    if where.jwt and where.seed_key:
        try:
            import nkeys
        except ImportError:
            raise OSError("a JWT for NATS needs the library nkeys: pip install 'pydapr[nats]'") from None

        def sign(nonce: str) -> bytes:
            import base64

            pair = nkeys.from_seed(bytearray(where.seed_key.encode()))
            try:
                return base64.b64encode(pair.sign(nonce.encode()))
            finally:
                pair.wipe()

        return {"user_jwt_cb": lambda: bytearray(where.jwt.encode()), "signature_cb": sign}
    if where.certificate:
        return {"tls": _tls(where)}
    return {"token": where.token} if where.token else {}


def _tls(where: Place) -> "ssl.SSLContext":
    """Raises `OSError`, `ValueError`."""
    import ssl

    made = ssl.create_default_context()
    try:
        made.load_cert_chain(where.certificate, where.key)
    except ssl.SSLError as error:
        raise ValueError(f"tls_client_cert and tls_client_key are no pair of files in PEM form: {error}") from None
    return made


@contextlib.contextmanager
def mapped() -> Iterator[None]:
    """The library's errors as `Failed`."""
    import nats.errors
    import nats.js.errors

    try:
        yield
    except (nats.js.errors.NotFoundError, nats.js.errors.KeyNotFoundError) as error:
        raise Failed(_worded(error), is_missing=True) from None
    except nats.js.errors.InvalidKeyError:
        raise Failed("nats: invalid key") from None
    except nats.js.errors.NoStreamResponseError:
        raise Failed("nats: no response from stream", is_passing=True) from None
    except TimeoutError:
        raise Failed("nats: timeout", is_passing=True) from None
    except (nats.errors.Error, nats.js.errors.Error, ValueError) as failure:
        raise Failed(_worded(failure)) from None
    except OSError as lost:
        raise Failed(f"nats: {lost}", is_passing=True) from None


def _worded(error: Exception) -> str:
    """As Go's client words what the server says."""
    description = getattr(error, "description", None)
    return f"nats: {description}" if description else str(error) or repr(error)


async def close(connection: "Client") -> None:
    """Sends what is still to be sent, within a bounded time."""
    import nats.errors

    with contextlib.suppress(nats.errors.Error, OSError):
        if connection.is_connected:
            await connection.flush(timeout=int(CLOSING_SECONDS))
    with contextlib.suppress(nats.errors.Error, OSError):
        async with asyncio.timeout(CLOSING_SECONDS):
            await connection.close()
