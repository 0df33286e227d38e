"""A server that answers only who shows a certificate of its root."""

import http.server
import ssl
import threading
from pathlib import Path


class _Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, format: str, *values: object) -> None:
        pass


class TlsServer:
    """Runs within a `with`, which is given its port."""

    def __init__(self, pki: Path) -> None:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hello)
        rules = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        rules.load_cert_chain(pki / "leaf.pem", pki / "leaf.key")
        rules.load_verify_locations(pki / "root.pem")
        rules.verify_mode = ssl.CERT_REQUIRED
        self._server.socket = rules.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self) -> int:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return int(self._server.server_address[1])

    def __exit__(self, *failure: object) -> None:
        self._server.shutdown()
        self._server.server_close()
