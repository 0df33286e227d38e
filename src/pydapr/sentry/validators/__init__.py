"""How sentry finds out whether those who ask are who they say: the contract, and what holds for every request.

One file per validator; `runtime` opens the ones that the Configuration asks for, `service` calls them.
"""

from abc import ABC, abstractmethod

from pydapr.security import spiffe
from pydapr.wire import signing

MAX_APP_ID = 64

Request = signing.Request


class Refused(Exception):
    """The caller is not believed; it is told the text."""


class CannotStart(Exception):
    """The validator cannot do its work; sentry does not run without it."""


class Validator(ABC):
    """One way to check."""

    async def open(self) -> None:
        """Gets ready. Raises `CannotStart`."""
        return None

    def close(self) -> None:
        """Ends what goes on beside the requests."""
        return None

    @abstractmethod
    async def validate(self, request: Request) -> str:
        """The trust domain of the caller, who is the one that the request names. Raises `Refused`."""


def check(request: Request) -> str:
    """What every request has to meet; the trust domain that it asks for. Raises `Refused`."""
    app_id = request.id
    wrong = []
    if not app_id:
        wrong.append("parameter app-id cannot be empty")
    elif "." in app_id:
        wrong.append("parameter app-id cannot contain dots")
    if len(app_id.encode()) > MAX_APP_ID:
        wrong.append("app ID must be 64 characters or less")
    if not request.certificate_signing_request:
        wrong.append("CSR is required")
    if not request.namespace:
        wrong.append("namespace is required")
    if wrong:
        raise Refused("invalid request: " + "\n".join(wrong))
    try:
        return spiffe.domain(request.trust_domain or spiffe.PUBLIC)
    except spiffe.Malformed as error:
        raise Refused(str(error)) from None
