"""The validator `jwks` believes a token that is signed by a known key, for sentry, in the name of the caller.

The token's `aud` has to hold sentry's SPIFFE id and its `sub` has to be the caller's; its times may be five minutes
off. Texts are the original's (v1.18.3, `pkg/sentry/server/validator/jwks`), as far as callers can tell them.
"""

import asyncio
import base64
import json
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError

from pydapr.security import spiffe
from pydapr.sentry import keyset, validators

SKEW_SECONDS = 300.0
_NOT_VERIFIED = "could not verify message using any of the signatures or keys"


class Jwks(validators.Validator):
    def __init__(self, options: Mapping[str, str], sentry: spiffe.Id, clock: Callable[[], float] = time.time) -> None:
        self._audience = str(sentry)
        self._clock = clock
        self._has_keys = asyncio.Event()
        try:
            self._keys = keyset.KeySet(keyset.Options(options))
        except keyset.Unusable as error:
            raise validators.CannotStart(str(error)) from None

    async def open(self) -> None:
        try:
            await self._keys.open()
        except keyset.Unusable as error:
            raise validators.CannotStart(f"failed to init cache: {error}") from None
        self._has_keys.set()

    def close(self) -> None:
        self._keys.close()

    async def validate(self, request: validators.Request) -> str:
        if not request.token:
            raise validators.Refused("the request does not contain a token")
        await self._has_keys.wait()  # at the start; for as long as the request may take
        trust_domain = validators.check(request)
        try:
            subject = spiffe.new(trust_domain, request.namespace, request.id)
        except spiffe.Malformed as error:
            raise validators.Refused(f"failed to construct SPIFFE ID for requestor: {error}") from None
        token = request.token.strip()  # files end with a newline, and senders pass it on
        wrong = self._wrong(await self._claims(token), str(subject))
        if wrong:
            raise validators.Refused(f"token validation failed: {wrong}")
        return trust_domain

    async def _claims(self, token: str) -> Mapping[str, Any]:
        """What the token says, once its signature is good. Raises `Refused`."""
        head = _head(token)
        key_id, algorithm = head.get("kid"), head.get("alg")
        key = await self._keys.get(key_id) if isinstance(key_id, str) else None
        if key is None or algorithm not in key.algorithms:
            raise validators.Refused(f"token validation failed: {_NOT_VERIFIED}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # EdDSA has a newer name, which issuers do not use
                return jwt.decode(token, key.material, algorithms=[str(algorithm)]).claims
        except (JoseError, ValueError) as error:
            raise validators.Refused(f"token validation failed: {_NOT_VERIFIED}: {error}") from None

    def _wrong(self, claims: Mapping[str, Any], subject: str) -> str:
        """What of the claims is not as it has to be; nothing when all is well."""
        now = self._clock()
        times = {name: claims.get(name) for name in ("iat", "exp", "nbf")}
        for name, value in times.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                return f'"{name}" is no time'
        if times["iat"] is not None and now < times["iat"] - SKEW_SECONDS:
            return '"iat" not satisfied'
        if times["exp"] is not None and now >= times["exp"] + SKEW_SECONDS:
            return '"exp" not satisfied'
        if times["nbf"] is not None and now < times["nbf"] - SKEW_SECONDS:
            return '"nbf" not satisfied'
        audience = claims.get("aud")
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            return '"aud" not satisfied'
        return "" if claims.get("sub") == subject else '"sub" not satisfied: values do not match'


def _head(token: str) -> Mapping[str, Any]:
    part = token.partition(".")[0]
    try:
        head = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        head = None
    if not isinstance(head, dict):
        raise validators.Refused("token validation failed: failed to parse jws: it is no JWT")
    return head
