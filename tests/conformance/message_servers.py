"""RabbitMQ, Mosquitto and NATS as components meet them."""

import asyncio
import base64
import contextlib
import datetime
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from uuid import uuid4

import nkeys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from nats import connect
from nats.js import JetStreamContext
from tests.conformance import servers

Served = tuple[Mapping[str, str], Callable[[], None]]
"""The metadata of a component that uses a server, and how that is restarted."""


def _restart(process: servers.Process) -> Callable[[], None]:
    def restart() -> None:
        process.stop()
        process.start()

    return restart


secrets: dict[object, Mapping[str, str]] = {}
"""The metadata with which a server that runs is reached by TLS."""


def certificates(place: Path, user: str | None) -> Mapping[str, str]:
    """An authority, and a certificate for all ends with its key: as files and as texts."""
    now = datetime.datetime.now(datetime.UTC)
    names = {name: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("authority", "guest")}
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in names}
    made = {}
    for name, subject in names.items():
        builder = (
            x509.CertificateBuilder(names["authority"], subject, keys[name].public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=name == "authority", path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        )
        made[name] = builder.sign(keys["authority"], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    key = keys["guest"].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for file, content in (("ca.pem", made["authority"]), ("own.pem", made["guest"]), ("own.key", key)):
        (place / file).write_bytes(content)
        servers.give(place / file, user)
    texts = {"caCert": made["authority"], "clientCert": made["guest"], "clientKey": key}
    return {name: text.decode() for name, text in texts.items()}


# -- rabbitmq --

AMQP = b"AMQP\x00\x00\x09\x01"
RABBITMQ_FOLDERS = ("/usr/lib/rabbitmq/bin",)


def _says(port: int, hello: bytes, answer: bytes) -> bool:
    """Whether a server greets back: one that only listens is not ready."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as made:
            made.sendall(hello)
            return answer in made.recv(64)
    except OSError:
        return False


@contextlib.contextmanager
def rabbitmq(stop: int = signal.SIGTERM) -> Iterator[Served]:
    """A broker with a port mapper of its own, so that no process of Erlang stays behind."""
    program = servers.program("rabbitmq-server", RABBITMQ_FOLDERS)
    program = next((f"{one}/rabbitmq-server" for one in RABBITMQ_FOLDERS if Path(one).exists()), program)
    mapper = servers.program("epmd")
    port, secure, mapping, distribution = servers.free_ports(4)
    user = servers.account("rabbitmq")
    with servers.folder(user) as place:
        config = place / "rabbitmq.conf"
        texts = certificates(place, user)
        config.write_text(
            f"listeners.tcp.1 = 127.0.0.1:{port}\nlisteners.ssl.1 = 127.0.0.1:{secure}\n"
            "vm_memory_high_watermark.absolute = 400MB\nauth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = EXTERNAL\n"
            f"ssl_options.cacertfile = {place}/ca.pem\nssl_options.certfile = {place}/own.pem\n"
            f"ssl_options.keyfile = {place}/own.key\nssl_options.verify = verify_peer\n"
            "ssl_options.fail_if_no_peer_cert = true\nssl_cert_login_from = common_name\n"
        )
        plugins = place / "plugins"
        plugins.write_text("[rabbitmq_auth_mechanism_ssl].\n")
        for one in (config, plugins):
            servers.give(one, user)
        settings = {
            "HOME": place, "ERL_EPMD_PORT": mapping, "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{port}@localhost", "RABBITMQ_DIST_PORT": distribution,
            "RABBITMQ_CONFIG_FILE": config, "RABBITMQ_ENABLED_PLUGINS_FILE": plugins,
            "RABBITMQ_MNESIA_BASE": place / "data", "RABBITMQ_LOG_BASE": place / "log", "RABBITMQ_LOGS": "-",
            "RABBITMQ_ALLOW_INPUT": "1", "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput +S 2:2",
        }  # fmt: skip
        environment = [f"{name}={value}" for name, value in settings.items()]
        mapper_command = [mapper, "-port", str(mapping), "-address", "127.0.0.1"]
        with (
            servers.running(mapper_command, place, user, lambda: servers.listens(mapping)),
            servers.running(
                ["env", *environment, program],
                place,
                user,
                lambda: _says(port, AMQP, b"capabilities"),
                stop,
            ) as process,
        ):
            secrets[rabbitmq] = {"connectionString": f"amqps://127.0.0.1:{secure}", **texts}
            yield {"connectionString": f"amqp://guest:guest@127.0.0.1:{port}"}, _restart(process)


def rabbitmq_to_kill() -> contextlib.AbstractContextManager[Served]:
    """One whose restart is a sudden end."""
    return rabbitmq(signal.SIGKILL)


# -- mosquitto --


@contextlib.contextmanager
def mosquitto() -> Iterator[Served]:
    """A broker that keeps sessions and messages over a restart."""
    program = servers.program("mosquitto", ["/usr/sbin"])
    port, secure = servers.free_ports(2)
    user = servers.account("mosquitto")
    with servers.folder(user) as place:
        config, texts = place / "mosquitto.conf", certificates(place, user)
        config.write_text(
            f"listener {port} 127.0.0.1\nlistener {secure} 127.0.0.1\ncafile {place}/ca.pem\ncertfile {place}/own.pem\n"
            f"keyfile {place}/own.key\nrequire_certificate true\n"
            f"allow_anonymous true\npersistence true\npersistence_location {place}/\n"
            "max_queued_messages 10000\n"
            "max_inflight_messages 0\n"  # 2.0.11 forgets to send the rest of more than 20 with QoS 2, to any client
        )
        servers.give(config, user)
        hello = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x0a\x00\x02hi"
        command = [program, "-c", str(config)]
        with servers.running(command, place, user, lambda: _says(port, hello, b"\x20\x02\x00\x00")) as process:
            secrets[mosquitto] = {"url": f"ssl://127.0.0.1:{secure}", **texts}
            yield {"url": f"mqtt://127.0.0.1:{port}"}, _restart(process)


@contextlib.contextmanager
def mosquitto_with_password() -> Iterator[Served]:
    """A broker for one user."""
    program, tool = servers.program("mosquitto", ["/usr/sbin"]), servers.program("mosquitto_passwd")
    [port] = servers.free_ports(1)
    user = servers.account("mosquitto")
    with servers.folder(user) as place:
        servers.run([tool, "-b", "-c", str(place / "users"), "me", "p@ss:word"], place, user)
        config = place / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {place}/users\n")
        servers.give(config, user)
        with servers.running([program, "-c", str(config)], place, user, lambda: servers.listens(port)) as process:
            yield {"url": f"tcp://me:p%40ss%3Aword@127.0.0.1:{port}"}, _restart(process)


# -- nats --


@contextlib.contextmanager
def nats() -> Iterator[Served]:
    """A server with JetStream, without any stream."""
    program = servers.program("nats-server", ["/usr/sbin"])
    [port] = servers.free_ports(1)
    user = servers.account("nats")
    with servers.folder(user) as place:
        command = [program, "-js", "-sd", str(place / "data"), "-a", "127.0.0.1", "-p", str(port)]
        with servers.running(command, place, user, lambda: _says(port, b"", b"INFO")) as process:
            yield {"natsURL": f"nats://127.0.0.1:{port}"}, _restart(process)


def _operator() -> tuple[str, Mapping[str, str]]:
    """The settings of a server that trusts an operator's JWTs, and the metadata of a user with one."""
    letter = nkeys.PREFIX_BYTE_ACCOUNT
    kinds = {
        "operator": nkeys.PREFIX_BYTE_OPERATOR,
        "system": letter,
        "account": letter,
        "user": nkeys.PREFIX_BYTE_USER,
    }
    seeds = {name: bytes(nkeys.encode_seed(os.urandom(32), kind)) for name, kind in kinds.items()}
    pairs = {name: nkeys.from_seed(bytearray(seed)) for name, seed in seeds.items()}
    ids = {name: pair.public_key.decode() for name, pair in pairs.items()}

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    def jwt(by: str, name: str, **more: object) -> str:
        about = {"type": "account" if name == "system" else name, "version": 2, **more}
        claims = {"jti": name, "iat": 1, "iss": ids[by], "name": name, "sub": ids[name], "nats": about}
        text = f"{part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{part(claims)}"
        return f"{text}.{base64.urlsafe_b64encode(pairs[by].sign(text.encode())).rstrip(b'=').decode()}"

    names = (
        "subs",
        "data",
        "payload",
        "conn",
        "leaf",
        "imports",
        "exports",
        "mem_storage",
        "disk_storage",
        "streams",
        "consumer",
    )
    limits = {name: -1 for name in names}
    accounts = {
        "account": jwt("operator", "account", limits=limits),
        "system": jwt("operator", "system", limits={**limits, "mem_storage": 0, "disk_storage": 0}),
    }
    user = jwt("account", "user", subs=-1, data=-1, payload=-1)
    preload = "\n".join(f"{ids[name]}: {text}" for name, text in accounts.items())
    operator = jwt("operator", "operator", system_account=ids["system"])
    settings = f"operator: {operator}\nresolver: MEMORY\nresolver_preload: {{\n{preload}\n}}\n"
    return settings, {"jwt": user, "seedKey": seeds["user"].decode()}


@contextlib.contextmanager
def nats_with(how: str) -> Iterator[Mapping[str, str]]:
    """A server that wants a `token`, a certificate (`tls`), or a `jwt`."""
    program = servers.program("nats-server", ["/usr/sbin"])
    [port] = servers.free_ports(1)
    user = servers.account("nats")
    with servers.folder(user) as place:
        certificates(place, None)
        files = ["--tlscert", f"{place}/own.pem", "--tlskey", f"{place}/own.key", "--tlscacert", f"{place}/ca.pem"]
        options = {"token": ["--auth", "secret"], "tls": ["--tls", "--tlsverify", *files], "jwt": []}[how]
        ways = {
            "token": {"token": "secret"},
            "tls": {
                "tls_client_cert": f"{place}/own.pem",
                "tls_client_key": f"{place}/own.key",
                "ca": f"{place}/ca.pem",
            },
            "jwt": {},
        }
        metadata = {"natsURL": f"nats://127.0.0.1:{port}", **ways[how]}
        if how == "jwt":
            settings, who = _operator()
            (place / "nats.conf").write_text(settings)
            options, metadata = ["-c", str(place / "nats.conf")], {**metadata, **who}
        for one in place.iterdir():
            one.chmod(0o644)
        command = [program, "-js", "-sd", str(place / "data"), "-a", "127.0.0.1", "-p", str(port), *options]
        with servers.running(command, place, user, lambda: _says(port, b"", b"INFO")):
            yield metadata


@contextlib.contextmanager
def stream(subjects: Sequence[str]) -> Iterator[Served]:
    """The server with a stream that ends with this, so that each use has one of its own."""
    metadata, restart = servers.shared(nats)
    name = f"stream{uuid4().hex}"
    asyncio.run(_with_jetstream(metadata["natsURL"], lambda js: js.add_stream(name=name, subjects=list(subjects))))
    try:
        yield {**metadata, "streamName": name}, restart
    finally:
        asyncio.run(_with_jetstream(metadata["natsURL"], lambda js: js.delete_stream(name)))


async def forget_consumers(metadata: Mapping[str, str]) -> None:
    """Removes all consumers of a stream, as the server does with those that nobody has used for long."""

    async def forget(js: JetStreamContext) -> None:
        for one in await js.consumers_info(metadata["streamName"]):
            await js.delete_consumer(metadata["streamName"], one.name)

    await _with_jetstream(metadata["natsURL"], forget)


async def redelivered(metadata: Mapping[str, str], consumer: str, many: int) -> None:
    """Waits until the server has sent so many messages of a consumer again."""

    async def wait(js: JetStreamContext) -> None:
        while True:
            told = await js.consumer_info(metadata["streamName"], consumer)
            if (told.num_redelivered or 0) >= many:
                return
            await asyncio.sleep(0.05)

    await _with_jetstream(metadata["natsURL"], wait)


def bucket() -> Served:
    """The server with a bucket of its own."""
    metadata, restart = servers.shared(nats)
    name = f"bucket{uuid4().hex}"
    asyncio.run(_with_jetstream(metadata["natsURL"], lambda js: js.create_key_value(bucket=name)))
    return {**metadata, "bucket": name}, restart


async def _with_jetstream(url: str, work: Callable[[JetStreamContext], Awaitable[object]]) -> None:
    async with asyncio.timeout(servers.SECONDS):
        connection = await connect(url)
        try:
            await work(connection.jetstream())
        finally:
            await connection.close()
