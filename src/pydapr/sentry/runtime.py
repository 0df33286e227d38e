"""A running authority: from the Configuration to the servers, and what happens when files change.

Called by `start`. Files that change are taken over without a break in service; if they cannot be used, the log says
so and what was there before stays in force.
"""

import asyncio
import contextlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydapr.controlplane.process import Fatal
from pydapr.observe import logging
from pydapr.security import spiffe, watch
from pydapr.sentry import authority, configuration, flags, metrics, store
from pydapr.sentry.loading import Loader

if TYPE_CHECKING:
    from pydapr.sentry.kube import Api
    from pydapr.sentry.serving import Serving

log = logging.get("dapr.sentry")


class Sentry:
    """One sentry, from its files to its end."""

    def __init__(self, settings: flags.Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        self._counts = metrics.Counts()

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set. Raises `Fatal`."""
        async with contextlib.AsyncExitStack() as stack:
            stopping = asyncio.create_task(stop.wait())
            starting = asyncio.create_task(self._start(stack))
            await asyncio.wait((stopping, starting), return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.wait((starting,))
                if starting.cancelled():
                    return
            stopping.cancel()
            await starting.result().beside.until(stop)

    async def _start(self, stack: contextlib.AsyncExitStack) -> "Serving":
        settings = self._settings
        try:
            spiffe.sentry(spiffe.domain(settings.trust_domain), settings.namespace)
        except spiffe.Malformed as error:
            raise Fatal(f"trust domain or namespace of sentry: {error}") from None
        api = self._api(stack)
        rules = await self._rules(api)
        self._check_folders()
        before = watch.state(settings.watched)
        loader = Loader(settings, rules, self._store(api))
        current, is_new = await loader.load(may_make=True)
        self._tell(current)
        if is_new:
            self._counts.changed.value += 1
            before = watch.state(settings.watched)
        from pydapr.sentry.serving import Serving  # not before it is certain that there will be something to serve

        serving = Serving(settings, current, self._counts, stack)
        await serving.start(rules, api, await self._domain(api))
        serving.beside.run(self._reload(before, loader, serving))
        return serving

    def _api(self, stack: contextlib.AsyncExitStack) -> "Api | None":
        """The API server in mode kubernetes. Raises `Fatal`."""
        if self._settings.mode == flags.STANDALONE:
            return None
        from pydapr.sentry import cluster, kube

        try:
            cluster.check_user(self._environ)
            cluster.check_namespace(self._environ)
            made = kube.Api(kube.find(self._settings.kubeconfig, self._environ))
        except (cluster.Refused, kube.Failed) as error:
            raise Fatal(f"error creating security: {error}") from None
        stack.callback(made.close)
        return made

    async def _rules(self, api: "Api | None") -> configuration.Rules:
        settings = self._settings
        try:
            if api is None:
                return configuration.load(settings, self._environ)
            from pydapr.sentry import cluster

            return await cluster.rules(api, settings.namespace, settings.config)
        except configuration.Invalid as error:
            raise Fatal(str(error)) from None

    def _store(self, api: "Api | None") -> store.Store:
        settings = self._settings
        if api is None:
            return store.Folder(settings.places)
        jwks = [settings.jwt.jwks_file] if settings.jwt.enabled else []
        return store.Cluster(api, settings.namespace, [settings.ca_file, *jwks])

    async def _domain(self, api: "Api | None") -> str:
        """What host names of our services end in."""
        if api is None:
            return self._settings.trust_domain
        from pydapr.sentry import cluster

        return await cluster.domain(self._settings.trust_domain)

    def _check_folders(self) -> None:
        folders = sorted({os.path.dirname(path) or "." for path in self._settings.watched})
        for folder in folders:
            if not os.path.exists(folder):
                raise Fatal(f"failed to add target {folder}: no such file or directory")
        log.info(f"Starting watch on filesystem directories: [{' '.join(folders)}]")

    def _tell(self, current: authority.Authority) -> None:
        self._counts.expires.value = int(current.bundle.issuer.not_valid_after_utc.timestamp())

    async def _reload(self, before: watch.State, loader: Loader, serving: "Serving") -> None:
        """Takes changed files over, for as long as sentry runs."""
        while True:
            before = await watch.changed(self._settings.watched, before)
            self._counts.changed.value += 1
            log.warning("Issuer credentials changed; reloading")
            try:
                current, _ = await loader.load(may_make=False)
                await serving.take(current)
                self._tell(current)
            except Fatal as error:
                log.error(f"{error}: what was there before stays in force")
            try:
                serving.load_openid_certificate()
            except Fatal as fault:
                log.error(f"{fault}: what was there before stays in force")
