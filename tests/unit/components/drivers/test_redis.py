"""Redis' metadata, and clients: what travels together, what is asked again, and that no wait is without end."""

import asyncio

import pytest
from tests.unit.components.drivers import resp

from pydapr import components
from pydapr.components.drivers import redis
from pydapr.components.drivers.redis_connection import Failure, Lost

OK = b"+OK\r\n"


def settings(port: int, **metadata: str) -> redis.Settings:
    given = {"redisHost": f"127.0.0.1:{port}", "redisMaxRetries": "1", "redisMinRetryInterval": "1ms", **metadata}
    return redis.settings(components.read(redis.Options, given))


async def opened(port: int, **metadata: str) -> redis.Server:
    server = redis.client(settings(port, **metadata))
    assert isinstance(server, redis.Server)
    await server.open()
    return server


# -- metadata --


@pytest.mark.parametrize(
    ("metadata", "addresses"),
    [
        ({"redisHost": "cache"}, (("cache", 6379),)),
        ({"redisHost": "cache:7000"}, (("cache", 7000),)),
        ({"redisHost": "cache", "redisPort": "7000"}, (("cache", 7000),)),
        ({"redisHost": "cache:7000", "redisPort": "7000"}, (("cache", 7000),)),
        ({"redisHost": "[::1]:7000"}, (("::1", 7000),)),
        ({"redisHost": "::1"}, (("::1", 6379),)),
        ({"redisHost": "a, b:1", "redisType": "cluster"}, (("a", 6379), ("b", 1))),
    ],
)
def test_host_and_port(metadata: dict[str, str], addresses: object) -> None:
    assert redis.settings(components.read(redis.Options, metadata)).addresses == addresses


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"redisHost": "cache:1", "redisPort": "2"}, "already contains port 1"),
        ({"redisHost": "cache:x"}, "redisHost"),
        ({"redisHost": "a,b"}, "several servers"),
        ({"redisHost": "a", "failover": "true"}, "sentinelMasterName"),
        ({"redisHost": "a", "useEntraID": "true"}, "useEntraID"),
        ({"redisHost": "a", "dialTimeout": "soon"}, "dialTimeout"),
        ({}, "redisHost"),
    ],
)
def test_what_cannot_be_used_is_named(metadata: dict[str, str], message: str) -> None:
    with pytest.raises(components.Wrong, match=message):
        redis.settings(components.read(redis.Options, metadata))


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 3.0), ("0", 3.0), ("1500", 1.5), ("1500ms", 1.5), ("2m", 120.0), ("-1", 0.0)]
)
def test_times_are_durations_or_milliseconds(text: str, seconds: float) -> None:
    assert settings(1, readTimeout=text).silence == seconds


def test_certificate_that_is_none_is_refused() -> None:
    wanted = settings(1, enableTLS="true", clientCert="nonsense", clientKey="nonsense")

    with pytest.raises(ValueError, match="PEM"):
        redis.tls_context(wanted)


# -- a server --


async def test_commands_of_one_turn_travel_together() -> None:
    async with resp.serving(lambda command: resp.bulk(command[1])) as fake:
        server = await opened(fake.port)

        answers = await asyncio.gather(*(server.run("", [("ECHO", str(number))]) for number in range(50)))

        assert answers == [[[b"%d" % number]] for number in range(50)]
        assert (fake.reads, fake.connections) == (1, 1)
        await server.close()


async def test_connection_begins_with_password_and_database() -> None:
    async with resp.serving(lambda command: OK) as fake:
        server = await opened(fake.port, redisPassword="secret", redisUsername="me", redisDB="4")

        assert fake.seen == [[b"AUTH", b"me", b"secret"], [b"SELECT", b"4"]]
        await server.close()


async def test_password_that_is_refused_is_told_without_it() -> None:
    async with resp.serving(lambda command: b"-WRONGPASS invalid\r\n") as fake:
        with pytest.raises(OSError, match="WRONGPASS") as raised:
            await opened(fake.port, redisPassword="secret")

        assert "secret" not in str(raised.value)


async def test_read_is_asked_again_when_the_connection_is_lost_and_a_write_is_not() -> None:
    async with resp.serving(lambda command: None) as fake:
        server = await opened(fake.port)

        def hang_up_once(command: list[bytes]) -> resp.Answer:
            if fake.answer is hang_up_once:
                fake.answer = lambda command: OK
                fake.hang_up()
                return None
            return OK

        fake.answer = hang_up_once
        assert await server.run("", [("GET", "k")], may_repeat=True) == [b"OK"]

        fake.answer = hang_up_once
        with pytest.raises(Lost):
            await server.run("", [("SET", "k", "v")])
        assert [command[0] for command in fake.seen] == [b"GET", b"GET", b"SET"]
        await server.close()


async def test_write_to_what_is_a_replica_now_goes_to_a_new_connection() -> None:
    answers = [b"-READONLY You can't write against a read only replica.\r\n", OK]
    async with resp.serving(lambda command: answers.pop(0)) as fake:
        server = await opened(fake.port)

        assert await server.run("", [("SET", "k", "v")]) == [b"OK"]
        await server.close()


async def test_server_that_is_silent_is_given_up() -> None:
    async with resp.serving(lambda command: None) as fake:
        server = await opened(fake.port, readTimeout="50ms")

        with pytest.raises(Lost, match="no answer"):
            await server.run("", [("SET", "k", "v")])
        await server.close()


async def test_answers_that_are_none_end_the_connection() -> None:
    async with resp.serving(lambda command: b"HTTP/1.1 400\r\n") as fake:
        server = await opened(fake.port)

        with pytest.raises(Lost, match="protocol"):
            await server.run("", [("SET", "k", "v")])
        await server.close()


async def test_cancelled_question_does_not_mix_up_answers() -> None:
    async with resp.serving(lambda command: None) as fake:
        server = await opened(fake.port)
        first = asyncio.create_task(server.run("", [("ECHO", "1")]))
        await asyncio.wait_for(fake.has_read.wait(), 10)
        first.cancel()
        fake.answer = lambda command: resp.bulk(b"1") + resp.bulk(command[1])

        assert await server.run("", [("ECHO", "2")]) == [[b"2"]]
        await server.close()


async def test_nobody_there_is_an_error_within_the_tries() -> None:
    async with resp.serving(lambda command: OK) as fake:
        port = fake.port

    with pytest.raises(OSError, match=f"error connecting to redis at 127.0.0.1:{port}"):
        await opened(port)


async def test_closed_client_answers_with_an_error() -> None:
    async with resp.serving(lambda command: OK) as fake:
        server = await opened(fake.port)
        await server.close()

        with pytest.raises(OSError, match="closed"):
            await server.run("", [("GET", "k")], may_repeat=True)


# -- sentinels --


async def test_sentinels_that_know_nothing_are_named() -> None:
    async with resp.serving(lambda command: b"*-1\r\n") as fake:
        with pytest.raises(OSError, match="knows no main"):
            await opened(fake.port, failover="true", sentinelMasterName="main")


# -- a cluster --


async def test_keys_go_where_their_slot_is_and_follow_it() -> None:
    from pydapr.components.drivers.redis_cluster import Cluster, slot

    assert (slot("123456789"), slot("user{tag}a") == slot("{tag}"), slot("{}a") == slot("a")) == (0x31C3, True, False)

    def here(port: int) -> bytes:
        return b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$0\r\n\r\n:%d\r\n" % port

    def first(command: list[bytes]) -> bytes:
        if command[0] == b"CLUSTER":
            return here(one.port)
        return b"-ASK 1 127.0.0.1:%d\r\n" % other.port if command[1] == b"asked" else b"-MOVED 1 :%d\r\n" % other.port

    def second(command: list[bytes]) -> bytes:
        if command[0] == b"CLUSTER":
            return here(other.port)
        if command[-1] == b"lost":
            return b"-MOVED 1 127.0.0.1:%d\r\n" % one.port
        return OK if command[0] == b"ASKING" else b"+%s\r\n" % command[1]

    async with resp.serving(first) as one, resp.serving(second) as other:
        cluster = redis.client(settings(one.port, redisType="cluster"))
        assert isinstance(cluster, Cluster)
        await cluster.open()

        assert await cluster.run("asked", [("GET", "asked"), ("PTTL", "asked")]) == [b"asked", b"asked"]
        assert [command[0] for command in other.seen] == [b"ASKING", b"GET", b"ASKING", b"PTTL"]
        assert await cluster.run("moved", [("GET", "moved")]) == [b"moved"]
        with pytest.raises(OSError, match="does not settle"):
            await cluster.run("lost", [("GET", "lost")])
        await cluster.close()


async def test_failures_are_values() -> None:
    async with resp.serving(lambda command: b"-ERR no\r\n") as fake:
        server = await opened(fake.port)

        [reply] = await server.run("", [("GET", "k")])

        assert isinstance(reply, Failure)
        assert str(reply) == "ERR no"
        await server.close()
