"""HTTPEndpoint resources over TLS: whom they trust, and how they present themselves."""

import http.server
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.harness import Sidecar, World

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")


def _openssl(*arguments: str, cwd: Path) -> None:
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True)


def make_pki(folder: Path) -> Path:
    """A root, and a certificate for localhost signed by it: root.pem, leaf.pem, leaf.key."""
    folder.mkdir(parents=True)
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    _openssl("req", "-x509", *curve, "-keyout", "root.key", "-out", "root.pem", "-subj", "/CN=root", cwd=folder)
    _openssl("req", *curve, "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=leaf", cwd=folder)
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    signing = ("-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-extfile", "names", "-days", "2")
    _openssl("x509", "-req", "-in", "leaf.csr", *signing, "-out", "leaf.pem", cwd=folder)
    return folder


class _Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, format: str, *values: object) -> None:
        pass


class _Quiet(http.server.ThreadingHTTPServer):
    def handle_error(self, request: object, address: object) -> None:
        pass


@pytest.fixture(scope="module")
def pki(shared_world: World) -> Path:
    return make_pki(shared_world.folder / "pki")


@pytest.fixture(scope="module")
def port(pki: Path) -> Iterator[int]:
    """A server that answers only who shows a certificate of the root."""
    server = _Quiet(("127.0.0.1", 0), _Hello)
    rules = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    rules.load_cert_chain(pki / "leaf.pem", pki / "leaf.key")
    rules.load_verify_locations(pki / "root.pem")
    rules.verify_mode = ssl.CERT_REQUIRED
    server.socket = rules.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def _resource(name: str, port: int, **tls: Path) -> str:
    lines = [f"    {key}:\n      value: |\n" + _indented(path.read_text()) for key, path in tls.items()]
    head = f"apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata:\n  name: {name}\nspec:\n"
    return f"{head}  baseUrl: https://localhost:{port}\n" + ("  clientTLS:\n" + "\n".join(lines) if lines else "")


def _indented(text: str) -> str:
    return "".join(f"        {line}\n" for line in text.splitlines())


@pytest.fixture(scope="module")
def sidecar(shared_world: World, pki: Path, port: int) -> Sidecar:
    foreign = make_pki(shared_world.folder / "foreign")
    root, leaf, key = pki / "root.pem", pki / "leaf.pem", pki / "leaf.key"
    resources = {
        "known": _resource("known", port, rootCA=root, certificate=leaf, privateKey=key),
        "nobody": _resource("nobody", port, rootCA=root),
        "foreign": _resource(
            "foreign", port, rootCA=root, certificate=foreign / "leaf.pem", privateKey=foreign / "leaf.key"
        ),
        "distrusting": _resource("distrusting", port, rootCA=foreign / "root.pem"),
        "unconfigured": _resource("unconfigured", port),
        "mismatched": _resource("mismatched", port, certificate=leaf, privateKey=foreign / "leaf.key"),
        "rootless": _resource("rootless", port, rootCA=key),
    }
    for name, text in resources.items():
        shared_world.write(f"resources/{name}.yaml", text)
    return shared_world.sidecar("caller", None, "--resources-path", str(shared_world.folder / "resources"))


def test_certificate_of_the_resource_opens_the_server(sidecar: Sidecar) -> None:
    reply = sidecar.call("GET", "/v1.0/invoke/known/method/x")

    assert (reply.status, reply.body) == (200, b"hello")


@pytest.mark.parametrize("name", ["nobody", "foreign"])
def test_server_refuses_who_shows_no_certificate_of_its_root(sidecar: Sidecar, name: str) -> None:
    reply = sidecar.call("GET", f"/v1.0/invoke/{name}/method/x")

    assert reply.status == 500
    assert b'"errorCode":"ERR_DIRECT_INVOKE"' in reply.body


@pytest.mark.parametrize("name", ["distrusting", "unconfigured"])
def test_server_of_another_root_is_not_trusted(sidecar: Sidecar, name: str) -> None:
    reply = sidecar.call("GET", f"/v1.0/invoke/{name}/method/x")

    assert reply.status == 500
    assert b'/x\\": tls: failed to verify certificate: x509: ' in reply.body


@pytest.mark.parametrize(
    ("name", "reason"),
    [("mismatched", b"do not form a pair"), ("rootless", b"rootCA holds no certificate")],
)
def test_unusable_texts_are_told(sidecar: Sidecar, name: str, reason: bytes) -> None:
    reply = sidecar.call("GET", f"/v1.0/invoke/{name}/method/x")

    assert reply.status == 500
    assert reason in reply.body
