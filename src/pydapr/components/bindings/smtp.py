"""bindings.smtp sends mail: the data are its text, as HTML.

Sender, receivers and the like stand in the component's metadata or in the request's, of which the request's count more.
Several addresses are separated by semicolons. Port 465 means TLS from the start; else TLS is used if the server has it.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import formatdate, getaddresses
from typing import TYPE_CHECKING

from pydapr.components import Wrong, component, option, options
from pydapr.components.bindings import BindingError, OutputBinding, Request, unquoted
from pydapr.observe import logging

if TYPE_CHECKING:
    import ssl

    import aiosmtplib

log = logging.get("dapr.contrib")

SECONDS = 60.0
"""How long a mail may take."""

GOODBYE_SECONDS = 5.0
"""How long a server may take to say goodbye, once it has the mail."""

TLS_PORT = 465
_HERE = ("localhost", "127.0.0.1", "::1")
_DEFAULT_PRIORITY = 3


@options
class Options:
    host: str = option("The server.", default="")
    port: int = option("The server's port.", default=0)
    user: str = option("The user, with a password.", default="")
    password: str = option("The user's password.", default="")
    skip_tls_verify: bool = option("Trust any certificate.", default=False)
    email_from: str = option("The sender.", default="")
    email_to: str = option("The receivers.", default="")
    email_cc: str = option("Who gets a copy.", default="")
    email_bcc: str = option("Who gets a copy that nobody else knows of.", default="")
    subject: str = option("The subject.", default="")
    priority: str = option("From 1, the highest, to 5.", default="")


@component("bindings.smtp", Options)
class Smtp(OutputBinding):
    operations = ("create",)

    def __init__(self, given: Options) -> None:
        if not given.host or not given.port:
            raise Wrong("smtp binding error: host and port fields are required in metadata")
        if bool(given.user) != bool(given.password):
            raise Wrong("smtp binding error: both user and password fields are required in metadata")
        self._given = given
        try:
            self._priority = _priority(given.priority, _DEFAULT_PRIORITY)
        except BindingError as error:
            raise Wrong(str(error)) from None

    async def open(self) -> None:
        import aiosmtplib

        self._library = aiosmtplib
        self._tls = _context(self._given.skip_tls_verify)
        if self._given.skip_tls_verify:
            log.warning("smtp binding warning: Skip TLS Verification is enabled. This is insecure.")

    async def invoke(self, request: Request) -> None:
        message, sender, receivers = self._mail(request)
        try:
            async with asyncio.timeout(SECONDS):
                await self._send(message, sender, receivers)
        except TimeoutError:
            raise BindingError(f"{_FAILED}no answer within {SECONDS:g}s") from None
        except (OSError, ValueError, self._library.SMTPException) as error:
            raise BindingError(f"{_FAILED}{error}") from None

    def _mail(self, request: Request) -> tuple[EmailMessage, str, list[str]]:
        """The mail, its sender and its receivers. Raises `BindingError`."""
        given, own = request.metadata, self._given
        wanted = {
            "emailFrom": given.get("emailFrom") or own.email_from,
            "emailTo": given.get("emailTo") or own.email_to,
            "subject": given.get("subject") or own.subject,
        }
        for name, value in wanted.items():
            if not value:
                raise BindingError(
                    f"smtp binding error: {name} property not supplied in configuration- or request-metadata"
                )
        copies = {
            "Cc": given.get("emailCC") or own.email_cc,
            "Bcc": given.get("emailBCC") or own.email_bcc,
        }
        message = EmailMessage(policy=_POLICY)
        receivers: list[str] = []
        try:
            message["From"] = wanted["emailFrom"]
            for name, value in {"To": wanted["emailTo"], **copies}.items():
                if value:
                    addresses = ", ".join(value.split(";"))
                    receivers += _addresses(addresses)
                    if name != "Bcc":
                        message[name] = addresses
            message["Subject"] = wanted["subject"]
            message["X-priority"] = str(_priority(given.get("priority", ""), self._priority))
            message["Date"] = formatdate(localtime=True)
            message.set_content(unquoted(request.data).decode("utf-8", "replace"), subtype="html")
            [sender] = _addresses(wanted["emailFrom"])
        except (ValueError, MessageError) as error:
            raise BindingError(f"{_FAILED}{error}") from None
        return message, sender, receivers

    async def _send(self, message: EmailMessage, sender: str, receivers: list[str]) -> None:
        given = self._given
        by_tls = given.port == TLS_PORT
        client = self._library.SMTP(
            hostname=given.host, port=given.port, local_hostname="localhost", timeout=SECONDS, use_tls=by_tls,
            start_tls=None if not by_tls else False, tls_context=self._tls,
        )  # fmt: skip
        await client.connect()
        transport = client.transport
        assert isinstance(transport, asyncio.Transport)
        try:
            if given.user and client.supports_extension("auth"):
                if not (_is_safe(transport) or given.host in _HERE):
                    raise ValueError("unencrypted connection")
                await client.login(given.user, given.password)
            await _give(client, message, sender, receivers)
            with contextlib.suppress(OSError, self._library.SMTPException):  # the server has the mail
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await client.quit()
        finally:
            client.close()
            transport.abort()  # there is nothing left to say, by TLS either


async def _give(client: "aiosmtplib.SMTP", message: EmailMessage, sender: str, receivers: Sequence[str]) -> None:
    """Hands a mail over, for all of its receivers or for none."""
    is_plain = all(one.isascii() for one in (sender, *receivers))
    if not is_plain and not client.supports_extension("smtputf8"):
        raise ValueError("the server takes no addresses beyond ASCII")
    encoding, options = ("ascii", []) if is_plain else ("utf-8", ["SMTPUTF8", "BODY=8BITMIME"])
    await client.mail(sender, options=options, encoding=encoding)
    for one in receivers:
        await client.rcpt(one, encoding=encoding)
    await client.data(message.as_bytes(policy=_POLICY if is_plain else SMTPUTF8))


_POLICY = SMTP.clone(cte_type="7bit")
_FAILED = "error from smtp binding, sending email failed: "


def _is_safe(transport: asyncio.BaseTransport) -> bool:
    """Whether the connection is one over TLS."""
    return transport.get_extra_info("sslcontext") is not None


def _context(skips: bool) -> "ssl.SSLContext":
    import ssl

    made = ssl.create_default_context()
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if skips:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def _addresses(text: str) -> list[str]:
    """Raises `ValueError`."""
    found = [address for _, address in getaddresses([text]) if address]
    if not found or not all("@" in one for one in found):
        raise ValueError(f"invalid address {text!r}")
    return found


def _priority(text: str, default: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.removeprefix("-").isdecimal()):
        raise BindingError(f'strconv.Atoi: parsing "{text}": invalid syntax')
    if not 1 <= int(text) <= 5:
        raise BindingError("smtp binding error:  priority value must be between 1 (highest) and 5 (lowest)")
    return int(text)
