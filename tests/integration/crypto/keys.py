"""Keys for tests of cryptography, and Component resources of the providers that have them."""

import base64
import json
import os

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.integration.harness import Sidecar, World

SECRET = bytes(range(32))

_COMPONENT = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: {name}}}
spec:
  type: crypto.dapr.{type}
  version: v1
  metadata: [{{name: {key}, value: {value}}}]
---
"""


def component(name: str, type_: str, key: str, value: str) -> str:
    return _COMPONENT.format(name=name, type=type_, key=key, value=json.dumps(value))


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def secret_jwk(name: str, **more: object) -> dict[str, object]:
    return {"kty": "oct", "kid": name, "k": encoded(SECRET), **more}


def rsa_jwk(name: str, key: rsa.RSAPrivateKey) -> dict[str, object]:
    """The private key without its factors, which may be left out."""
    numbers = key.private_numbers()
    parts = {"n": numbers.public_numbers.n, "e": numbers.public_numbers.e, "d": numbers.d}
    texts = {part: encoded(value.to_bytes((value.bit_length() + 7) // 8, "big")) for part, value in parts.items()}
    return {"kty": "RSA", "kid": name, **texts}


def private_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def public_pem(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def write(world: World) -> None:
    """A folder of keys and a set with the same, and the resources of `files` and `set`."""
    rsa_key = rsa.generate_private_key(65537, 2048)
    (world.folder / "keys" / "deep").mkdir(parents=True)
    (world.folder / "keys" / "deep" / "raw").write_bytes(SECRET)
    (world.folder / "keys" / "other").write_bytes(os.urandom(32))
    (world.folder / "keys" / "short").write_bytes(SECRET[:16])
    world.write("keys/base64", base64.b64encode(SECRET).decode() + "\n")
    world.write("keys/secret.json", json.dumps(secret_jwk("x")))
    world.write("keys/sign.json", json.dumps(secret_jwk("x", use="sig")))
    world.write("keys/unwraps.json", json.dumps(secret_jwk("x", key_ops=["unwrapKey"])))
    world.write("keys/gcm.json", json.dumps(secret_jwk("x", alg="A256GCM")))
    world.write("keys/rsa.pem", private_pem(rsa_key))
    world.write("keys/public.pem", public_pem(rsa_key))
    world.write("keys/ec.pem", private_pem(ec.generate_private_key(ec.SECP256R1())))
    world.write("keys/bad.pem", "-----BEGIN NOTHING-----\n")
    world.write("keys/bad.json", "{")
    path = world.write("set.json", json.dumps({"keys": [secret_jwk("secret"), rsa_jwk("rsa", rsa_key)]}))
    text = component("files", "localstorage", "path", str(world.folder / "keys"))
    world.write("resources/crypto.yaml", text + component("set", "jwks", "jwks", str(path)))


def sidecar(world: World, *flags: str, program: list[str] | None = None) -> Sidecar:
    resources = ("--resources-path", str(world.folder / "resources"))
    return world.daprd("crypto", None, *resources, *flags, program=program).await_ready()
