"""A running sentry, ours or the original, in a folder of its own; and asking it as an app's sidecar would."""

import http.client
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.integration import harness

from pydapr.security import request, spiffe, svid, token, trust

OURS = [sys.executable, "-m", "pydapr", "sentry"]
THEIRS = [os.path.join(harness.ORIGINAL, "sentry")]

CONFIGURATION = """
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: sentry
spec:
  mtls:
    enabled: true
"""


class Authority:
    """A sentry, just started. `folder` has its files; the same folder gives the same authority again."""

    def __init__(
        self,
        folder: Path,
        *flags: str,
        program: list[str] | None = None,
        configuration: str = CONFIGURATION,
        environment: dict[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self.flags, self.configuration = flags, configuration
        self.credentials = folder / "credentials"
        self.credentials.mkdir(parents=True, exist_ok=True)
        config = folder / "config.yaml"
        config.write_text(configuration)
        self.port, self.health_port, self.metrics_port, self.oidc_port = (harness.free_port() for _ in range(4))
        self.port = port or self.port
        ports = {
            "--port": self.port,
            "--healthz-port": self.health_port,
            "--metrics-port": self.metrics_port,
            "--oidc-server-listen-port": self.oidc_port,
        }
        arguments = [f"--issuer-credentials={self.credentials}", f"--config={config}"]
        arguments += [f"{flag}={port}" for flag, port in ports.items()]
        self.log_path = folder / "sentry.log"
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*(program or OURS), *arguments, *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )

    # -- what it says --

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def anchors(self) -> str:
        return (self.credentials / "ca.crt").read_text()

    def trusted(self) -> trust.Anchors:
        return trust.read(self.anchors.encode())

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    def get(self, port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        """Status and body of a request to one of its ports; 0 while nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def metrics(self) -> dict[str, float]:
        lines = self.get(self.metrics_port, "/")[1].splitlines()
        pairs = (line.rpartition(" ") for line in lines if line.startswith("dapr_sentry_"))
        return {name: float(value) for name, _, value in pairs}

    def await_ready(self) -> "Authority":
        def is_over() -> bool:
            return self.process.poll() is not None or self.get(self.health_port, "/healthz")[0] == 200

        harness.eventually(is_over, "sentry is ready")
        assert self.process.poll() is None, self.log
        return self

    # -- asking --

    def asker(
        self,
        app_id: str = "myapp",
        namespace: str = "default",
        trust_domain: str = "localhost",
        sentry_namespace: str = "default",
        **environ: str,
    ) -> request.Sentry:
        """Asks for certificates as a sidecar does."""
        own = spiffe.sentry(trust_domain, sentry_namespace)
        return request.Sentry(
            self.address,
            own,
            self.trusted(),
            request.who(environ, app_id, own, namespace),
            lambda: token.read(environ, in_kubernetes="--mode=kubernetes" in self.flags),
        )

    async def source(self, app_id: str = "myapp", **environ: str) -> svid.Source:
        """An identity from it."""
        made = svid.Source(self.asker(app_id, **environ), self.trusted())
        await made.open()
        return made

    # -- its end --

    def exit_code(self) -> int:
        return self.process.wait(harness.LIMIT)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.exit_code()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
