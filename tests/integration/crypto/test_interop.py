"""Documents of the original are read here, and ours there, with the same keys. Needs its executables."""

import pytest
from tests.integration import harness
from tests.integration.crypto import keys
from tests.integration.harness import Sidecar, World

pytestmark = pytest.mark.skipif(not harness.ORIGINAL, reason="PYDAPR_ORIGINAL names no folder with the original")


@pytest.mark.parametrize("size", [0, 5, 65536, 200_000])
@pytest.mark.parametrize(("key", "algorithm"), [("base64", "AES"), ("rsa.pem", "RSA")])
@pytest.mark.parametrize("cipher", ["aes-gcm", "chacha20-poly1305"])
def test_each_reads_what_the_other_wrote(shared_world: World, size: int, key: str, algorithm: str, cipher: str) -> None:
    ours, original = _both(shared_world)
    data = bytes(index * 7 % 251 for index in range(size))
    headers = (
        f"dapr-key-name: {key}",
        f"dapr-key-wrap-algorithm: {algorithm}",
        f"dapr-data-encryption-cipher: {cipher}",
    )

    for writer, reader in ((ours, original), (original, ours)):
        document = writer.call("PUT", "/v1.0-alpha1/crypto/files/encrypt", *headers, body=data)
        assert document.status == 200, document.body
        back = reader.call("PUT", "/v1.0-alpha1/crypto/files/decrypt", body=document.body)
        assert (back.status, back.body) == (200, data)


def _both(world: World) -> tuple[Sidecar, Sidecar]:
    if not world.sidecars:
        keys.write(world)
        folder = str(world.folder / "keys")
        world.write("resources/crypto.yaml", keys.component("files", "localstorage", "path", folder))
        keys.sidecar(world)
        keys.sidecar(world, program=[f"{harness.ORIGINAL}/daprd"])
    return world.sidecars[0], world.sidecars[1]
