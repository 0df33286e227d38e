"""Apache Kafka in KRaft mode, one broker. Cases that need it are skipped where it cannot be had."""

import asyncio
import contextlib
import datetime
import ipaddress
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.conformance import servers

Served = tuple[Mapping[str, str], Callable[[], None]]
"""The metadata of a component that uses the broker, and how that is restarted."""

VERSION = "3.9.1"
USER, PASSWORD = "app", "correct horse"

_JAVA = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


def libraries() -> Path:
    """The folder with Kafka's jars. Skips the case when it cannot be had."""
    servers.program("java")
    return servers.maven(f"org.apache.kafka:kafka_2.13:{VERSION}")


def _sasl() -> tuple[dict[str, str], list[str]]:
    """Settings of a broker that wants to know who comes, and what its storage is made with."""
    module, prefix = "org.apache.kafka.common.security", "listener.name.sasl_plaintext"
    settings = {
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        f"{prefix}.plain.sasl.jaas.config": (
            f'{module}.plain.PlainLoginModule required username="{USER}" password="{PASSWORD}" '
            f'user_{USER}="{PASSWORD}";'
        ),
        f"{prefix}.oauthbearer.sasl.jaas.config": (
            f'{module}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="{USER}";'
        ),
    }
    users = []
    for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
        settings[f"{prefix}.{mechanism.lower()}.sasl.jaas.config"] = f"{module}.scram.ScramLoginModule required;"
        users += ["--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]"]
    return settings, users


@contextlib.contextmanager
def _kafka(
    place: Path,
    listener: str = "PLAINTEXT",
    more: Mapping[str, str] | None = None,
    users: Sequence[str] = (),
    stop: int = signal.SIGTERM,
) -> Iterator[tuple[int, servers.Process]]:
    jars = libraries()
    port, own = servers.free_ports(2)
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{own}",
        "listeners": f"{listener}://127.0.0.1:{port},CONTROLLER://127.0.0.1:{own}",
        "advertised.listeners": f"{listener}://127.0.0.1:{port}",
        "inter.broker.listener.name": listener,
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": f"{listener}:{listener},CONTROLLER:PLAINTEXT",
        "log.dirs": str(place / "logs"),
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "group.initial.rebalance.delay.ms": "0",
        "num.partitions": "1",
        **(more or {}),
    }
    Path(place, "kafka.properties").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    java = [servers.program("java"), *_JAVA, "-cp", f"{jars}/*"]
    format_ = ["format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", "kafka.properties", *users]
    servers.run([*java, "-Xmx128m", "kafka.tools.StorageTool", *format_], place, None)
    command = [*java, "-Xmx384m", "kafka.Kafka", "kafka.properties"]
    with servers.running(command, place, None, lambda: servers.listens(port), stop) as process:
        yield port, process


def _restart(process: servers.Process) -> Callable[[], None]:
    def restart() -> None:
        process.stop()
        process.start()

    return restart


@contextlib.contextmanager
def alone() -> Iterator[Served]:
    with servers.folder(None) as place, _kafka(place) as (port, process):
        yield {"brokers": f"127.0.0.1:{port}", "authType": "none"}, _restart(process)


@contextlib.contextmanager
def to_kill() -> Iterator[Served]:
    """One that is killed where others are ended."""
    with servers.folder(None) as place, _kafka(place, stop=signal.SIGKILL) as (port, process):
        yield {"brokers": f"127.0.0.1:{port}", "authType": "none"}, _restart(process)


@contextlib.contextmanager
def with_sasl() -> Iterator[Served]:
    """One that wants to know who comes."""
    settings, users = _sasl()
    with servers.folder(None) as place, _kafka(place, "SASL_PLAINTEXT", settings, users) as (port, process):
        metadata = {
            "brokers": f"127.0.0.1:{port}", "authType": "password", "disableTls": "true",
            "saslUsername": USER, "saslPassword": PASSWORD,
        }  # fmt: skip
        yield metadata, _restart(process)


@contextlib.contextmanager
def with_tls() -> Iterator[Served]:
    """One that shows its certificate, and wants to see one."""
    with servers.folder(None) as place:
        certificate, key = self_signed("kafka")
        (place / "trusted.pem").write_text(certificate)
        (place / "own.pem").write_text(key + certificate)
        settings = {
            "ssl.client.auth": "required", "ssl.keystore.type": "PEM", "ssl.truststore.type": "PEM",
            "ssl.keystore.location": str(place / "own.pem"), "ssl.truststore.location": str(place / "trusted.pem"),
        }  # fmt: skip
        with _kafka(place, "SSL", settings) as (port, process):
            metadata = {
                "brokers": f"127.0.0.1:{port}", "authType": "mtls", "caCert": certificate,
                "clientCert": certificate, "clientKey": key,
            }  # fmt: skip
            yield metadata, _restart(process)


def self_signed(name: str) -> tuple[str, str]:
    """A certificate of this machine that signs itself, and its key, as PEM texts."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(addresses, critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return made.public_bytes(serialization.Encoding.PEM).decode(), secret.decode()


def create_topic(brokers: str, name: str, partitions: int) -> None:
    async def create() -> None:
        from aiokafka.admin import AIOKafkaAdminClient, NewTopic

        admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, partitions, 1)])
        finally:
            await admin.close()

    asyncio.run(create())
