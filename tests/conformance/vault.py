"""A stand-in for HashiCorp Vault: the KV secrets engine, version 2, as far as secret stores use it.

Shapes and statuses are those of Vault's HTTP API (developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2).
"""

import http.server
import json
import ssl
import threading
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "s.standin-token"


class Vault:
    """Holds `secrets`: path below the mount → versions, oldest first; None is a deleted one."""

    def __init__(self, mount: str = "secret", tls: Path | None = None) -> None:
        self.mount = mount
        self.secrets: dict[str, list[dict[str, Any] | None]] = {}
        self.asked: list[tuple[str, str]] = []
        self.connections = 0
        self._server = _Quiet(("127.0.0.1", 0), _Handler)
        self._server.vault = self
        if tls is not None:
            rules = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            rules.load_cert_chain(tls / "leaf.pem", tls / "leaf.key")
            self._server.socket = rules.wrap_socket(self._server.socket, server_side=True)
        scheme = "https" if tls is not None else "http"
        self.address = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    # -- answers: a status, and what stands in the body --

    def data(self, path: str, version: int) -> tuple[int, dict[str, Any]]:
        versions = self.secrets.get(path, [])
        number = version or len(versions)
        if not 0 < number <= len(versions):
            return 404, {"errors": []}
        found = versions[number - 1]
        inner = {"data": found, "metadata": {"version": number, "destroyed": False}}
        return (200 if found is not None else 404), {"data": inner}

    def keys(self, folder: str) -> tuple[int, dict[str, Any]]:
        below = [path[len(folder) :] for path in self.secrets if path.startswith(folder)]
        names = {name.partition("/")[0] + ("/" if "/" in name else "") for name in below}
        return (200, {"data": {"keys": sorted(names)}}) if names else (404, {"errors": []})


class _Quiet(http.server.ThreadingHTTPServer):
    vault: Vault
    daemon_threads = True

    def handle_error(self, request: object, address: object) -> None:
        """A client that does not trust us is no fault here."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Quiet

    def setup(self) -> None:
        super().setup()
        self.server.vault.connections += 1

    def do_GET(self) -> None:
        self._answer("data")

    def do_LIST(self) -> None:
        self._answer("metadata")

    def _answer(self, what: str) -> None:
        vault = self.server.vault
        vault.asked.append((self.command, self.path))
        parts = urlsplit(self.path)
        prefix = f"/v1/{vault.mount}/{what}/"
        if self.headers.get("X-Vault-Token") != TOKEN or self.headers.get("X-Vault-Request") != "true":
            status, body = 403, {"errors": ["permission denied"]}
        elif not parts.path.startswith(prefix):
            status, body = 404, {"errors": [f"no handler for route {parts.path}"]}
        elif what == "data":
            version = int(parse_qs(parts.query).get("version", ["0"])[0])
            status, body = vault.data(unquote(parts.path[len(prefix) :]), version)
        else:
            status, body = vault.keys(unquote(parts.path[len(prefix) :]))
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *values: object) -> None:
        pass
