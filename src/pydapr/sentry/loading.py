"""From what is stored to an authority that signs, at the start and whenever something has changed.

Called by `runtime` before anything else is loaded, so that a start that must fail does so quickly.
"""

import datetime
from typing import TYPE_CHECKING

from pydapr.controlplane.process import Fatal
from pydapr.observe import logging
from pydapr.security import certificates, spiffe
from pydapr.sentry import authority, configuration, first_start, flags, store
from pydapr.sentry import bundle as bundles

if TYPE_CHECKING:
    from pydapr.sentry.tokens import Tokens

log = logging.get("dapr.sentry")
ca_log = logging.get("dapr.sentry.ca")

TRIES = 5

New = list[tuple[str, bytes]]
"""Paths and contents of what is to be stored."""


class Loader:
    """Makes authorities from a store."""

    def __init__(self, settings: flags.Settings, rules: configuration.Rules, kept: store.Store) -> None:
        self._settings = settings
        self._rules = rules
        self._store = kept

    async def load(self, may_make: bool) -> tuple[authority.Authority, bool]:
        """The authority that is stored, and whether it is new: what is not there is made, if it may. Raises `Fatal`."""
        ca_log.info(f"Using {self._store.what} for trust bundle storage")
        for _ in range(TRIES):
            try:
                return await self._load(may_make)
            except first_start.Taken as error:
                ca_log.info(f"Using what another sentry has made: {error}")
        raise Fatal("error creating CA: others change it all the time")

    async def _load(self, may_make: bool) -> tuple[authority.Authority, bool]:
        """Raises `Fatal`, `first_start.Taken`."""
        new: New = []
        try:
            await self._store.refresh()
            bundle = self._bundle(new, may_make)
            tokens = self._tokens(new, may_make) if self._settings.jwt.enabled else None
            if new:
                ca_log.info("Generating self-signed CA certs and persisting to store")
                await self._store.write(new)
                ca_log.info("Self-signed certs and JWT root key generated and persisted successfully")
        except bundles.Refused as error:
            raise Fatal(f"error creating CA: failed to get CA bundle: {error}") from None
        except (certificates.Invalid, spiffe.Malformed) as error:
            raise Fatal(f"error creating CA: {error}") from None
        if not new:
            ca_log.info("Root and issuer certs found: using credentials from store")
        log.info("CA certificate key pair ready")
        rules = self._rules
        return authority.Authority(bundle, rules.workload_seconds, rules.skew_seconds, tokens), bool(new)

    def _bundle(self, new: New, may_make: bool) -> bundles.Bundle:
        settings = self._settings
        files = (settings.ca_file, settings.issuer_file, settings.issuer_key_file)
        now = datetime.datetime.now(datetime.UTC)
        found = bundles.load(self._store.read, *files, now)
        if found is not None:
            return found
        if not may_make:
            raise bundles.Refused("root and issuer certificates are gone")
        ca_log.info("Root and issuer certs not found: generating self signed CA")
        skew = datetime.timedelta(seconds=self._rules.skew_seconds)
        made = bundles.generate(settings.trust_domain, settings.namespace, skew, now)
        new += bundles.files(made, *files)
        return made

    def _tokens(self, new: New, may_make: bool) -> "Tokens":
        from pydapr.sentry import tokens

        jwt = self._settings.jwt
        key = tokens.load(self._store.read, jwt.key_file, jwt.jwks_file, jwt.key_id)
        algorithm = jwt.algorithm
        if key is None:
            if not may_make:
                raise bundles.Refused("JWT signing key and JWKS are gone")
            ca_log.info("Generating JWT signing key and persisting to store")
            algorithm = tokens.DEFAULT_ALGORITHM
            key, contents = tokens.generate(jwt.key_id)
            new += zip((jwt.key_file, jwt.jwks_file), contents, strict=True)
        skew = self._rules.skew_seconds
        made = tokens.Tokens(key, tokens.Rules(algorithm, jwt.key_id, jwt.issuer, jwt.ttl, skew))
        ca_log.info("JWT issuing enabled")
        if jwt.key_id is None:
            ca_log.info(f"Using JWT kid from thumbprint: {made.key_id}, please ensure this aligns with your JWKS")
        else:
            ca_log.info(f"Using JWT kid from configuration: {made.key_id}")
        return made
