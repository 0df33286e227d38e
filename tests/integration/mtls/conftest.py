"""A sentry and sidecars that speak mTLS by it; when a test fails their logs are shown."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration import harness
from tests.integration.harness import Sidecar, World
from tests.integration.http_wire import App
from tests.integration.sentry.authority import CONFIGURATION, OURS, Authority

from pydapr.net import http2_pool
from pydapr.wire import http2


class Mesh:
    """Sidecars of one world whose certificates come from one sentry."""

    def __init__(self, world: World, sentry: Authority) -> None:
        self.world, self.sentry = world, sentry

    def daprd(
        self,
        name: str = "app",
        app: App | None = None,
        *flags: str,
        environment: dict[str, str] | None = None,
        program: list[str] | None = None,
    ) -> Sidecar:
        """A sidecar, just started; the trust anchors are those of the sentry unless `environment` has others."""
        own = {"DAPR_TRUST_ANCHORS": self.sentry.anchors} if environment is None else environment
        return self.world.daprd(
            name,
            app,
            "--enable-mtls",
            "--sentry-address",
            self.sentry.address,
            *flags,
            environment=own,
            program=program,
        )

    def sidecar(self, name: str = "app", app: App | None = None, *flags: str) -> Sidecar:
        """A sidecar that is ready."""
        return self.daprd(name, app, *flags).await_ready()


def invoke(caller: Sidecar, callee: Sidecar, body: bytes = b"hello") -> tuple[int, bytes]:
    """Status and body of a call from one app to another."""
    answer = caller.call("POST", f"/v1.0/invoke/{callee.app_id}/method/some", body=body)
    return answer.status, answer.body


async def knock(port: int, connector: http2_pool.Connector) -> None:
    """Connects, and is gone again. Raises `http2_pool.Unreachable`."""
    pool = http2_pool.Pool(connector, http2.Limits())
    try:
        async with asyncio.timeout(harness.LIMIT):
            connection = await pool.connection(f"localhost:{port}")
        connection.transport.abort()  # a farewell could take longer than the loop of the test is there
    finally:
        pool.close()
        await asyncio.sleep(0)


@pytest.fixture
def short_lived() -> str:
    """A Configuration of sentry by which certificates are renewed every second or two."""
    return CONFIGURATION + "    workloadCertTTL: 4s\n    allowedClockSkew: 1s\n"


@pytest.fixture
def sentry(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Authority]:
    """A sentry that is ready. A test may say by `indirect` that it is short-lived or the original's."""
    wanted = getattr(request, "param", "ours")
    configuration = request.getfixturevalue("short_lived") if wanted == "short-lived" else CONFIGURATION
    program = [os.path.join(harness.ORIGINAL, "sentry")] if wanted == "original" else OURS
    made = Authority(tmp_path / "authority", program=program, configuration=configuration)
    try:
        yield made.await_ready()
    finally:
        made.kill()
        print(made.log[-8000:])  # noqa: T201 - pytest shows it with a failure


@pytest.fixture
def mesh(world: World, sentry: Authority) -> Mesh:
    return Mesh(world, sentry)
