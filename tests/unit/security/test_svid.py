"""Identities: when they are renewed, and that connections made after that show the new one."""

import asyncio
import base64
import errno
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.unit.security import issuing

from pydapr.net import http2_pool, server
from pydapr.net.exchange import Exchange
from pydapr.security import certificates, spiffe, svid, tls, trust
from pydapr.wire import http2

HOUR = 3600.0


def _token(**said: object) -> str:
    parts = ({"alg": "none"}, said)
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts), ""])


@pytest.mark.parametrize(
    ("not_before", "not_after", "jwt_expires", "now", "expected"),
    [
        (-0.25 * HOUR, 24 * HOUR, None, 0.0, 11.875 * HOUR),  # the original's: 11 h 52 min 30 s after it was issued
        (0.0, 100.0, None, 10.0, 50.0),
        (0.0, 100.0, 20.0, 0.0, 10.0),
        (0.0, 100.0, 1000.0, 0.0, 50.0),
        (-900.0, 60.0, None, 0.0, 30.0),  # half of what is left, where half of it all is over
        (-100.0, -50.0, None, 0.0, -25.0),
    ],
)
def test_an_identity_is_renewed_at_half_of_its_life(
    not_before: float, not_after: float, jwt_expires: float | None, now: float, expected: float
) -> None:
    assert svid.renew_at(not_before, not_after, jwt_expires, now) == expected


def test_what_a_token_says() -> None:
    assert svid.claims(_token(aud=["a", "b"])) == {"aud": ["a", "b"]}
    assert svid.audiences({"aud": ["a", "b"]}) == ["a", "b"]
    assert svid.audiences({"aud": "a"}) == ["a"]
    assert svid.audiences({}) == []
    for wrong in ("", "a.b", "a.!.c", _token() + ".x"):
        with pytest.raises(ValueError):
            svid.claims(wrong)


async def test_an_identity_is_for_the_key_that_was_made_for_it() -> None:
    issuer = issuing.Issuer()
    other = (await issuer.source("other")).identity.chain

    async def issue(_: bytes) -> svid.Issued:
        return svid.Issued(other)

    with pytest.raises(svid.Unavailable, match=r"initial identity: .*not for the key"):
        await svid.Source(issue, issuer.anchors).open()


async def test_without_an_issuer_there_is_no_identity() -> None:
    issuer = issuing.Issuer()
    issuer.failure = "nobody is there"
    with pytest.raises(svid.Unavailable, match="failed to retrieve the initial identity: nobody is there"):
        await issuer.source("a")


async def test_a_token_has_to_say_when_it_ends() -> None:
    issuer = issuing.Issuer()
    plain = issuer.request(spiffe.new("public", "default", "a"))

    async def issue(request: bytes) -> svid.Issued:
        return svid.Issued((await plain(request)).chain, _token(aud="a"))

    with pytest.raises(svid.Unavailable, match="no end of its time"):
        await svid.Source(issue, issuer.anchors).open()


async def _until(is_true: Callable[[], bool]) -> None:
    """Lets others have their turn until it is true; the caller bounds how long."""
    while True:
        if is_true():
            return
        await asyncio.sleep(0)


async def test_it_is_renewed_in_time_and_again_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svid, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(svid, "RETRY_SECONDS", 0.001)
    issuer = issuing.Issuer()
    time = [issuing.now().timestamp()]
    source = svid.Source(issuer.request(spiffe.new("public", "default", "a")), issuer.anchors, lambda: time[0])
    await source.open()
    first = source.identity
    running = asyncio.create_task(source.run())
    try:
        issuer.failure = "away"
        time[0] = svid.renew_at(first.not_before, first.not_after, None, time[0]) + 1
        async with asyncio.timeout(10):
            await _until(lambda: issuer.count >= 4)
            assert source.identity is first
            issuer.failure = ""
            await _until(lambda: source.identity is not first)
    finally:
        running.cancel()
    assert source.identity.chain != first.chain


async def test_it_is_renewed_when_the_clock_is_set_back_to_before_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svid, "LOOK_SECONDS", 0.001)
    issuer = issuing.Issuer()
    now, looks = [issuing.now().timestamp()], list[float]()

    def clock() -> float:
        looks.append(now[0])
        return now[0]

    source = svid.Source(issuer.request(spiffe.new("public", "default", "a")), issuer.anchors, clock)
    await source.open()
    first = source.identity
    now[0] = first.not_before + 1
    running = asyncio.create_task(source.run())
    try:
        async with asyncio.timeout(10):
            await _until(lambda: looks.count(now[0]) > 6)
            assert source.identity is first
            now[0] = first.not_before - 1
            await _until(lambda: source.identity is not first)
    finally:
        running.cancel()


async def test_without_room_for_files_the_one_before_stays_and_renewals_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svid, "RETRY_SECONDS", 0.001)
    issuer = issuing.Issuer()
    source = await issuer.source("a")
    source.server_context(with_client=True)
    first, reasons = source.identity, list[str]()
    source.on_renewal = reasons.append
    running = asyncio.create_task(source.run())
    try:
        source.go_by(issuer.anchors)
        for passing in (0, 1):  # it is seen when the certificate has come, and when a server is to show it
            reasons.clear()
            with monkeypatch.context() as full:
                full.setattr(tls, "show", _failing(tls.show, passing))
                async with asyncio.timeout(10):
                    await _until(lambda: len(reasons) > 1)
            assert reasons[:2] == ["sign", "sign"]
            if not passing:
                assert source.identity is first
        reasons.clear()
        async with asyncio.timeout(10):
            await _until(lambda: "" in reasons)
    finally:
        running.cancel()
    assert source.identity is not first


def _failing(show: Callable[..., None], passing: int) -> Callable[..., None]:
    """`show`, but after `passing` calls that one finds no room which follows."""
    calls = itertools.count()

    def shown(*given: Any) -> None:
        if next(calls) % (passing + 1) == passing:
            raise OSError(errno.EMFILE, "Too many open files")
        show(*given)

    return shown


async def test_an_issuer_whose_certificates_cannot_be_shown_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svid, "RETRY_SECONDS", 0.001)
    good, weak = issuing.Issuer(), issuing.Issuer(issuing.with_key(rsa.generate_private_key(65537, 1024)))
    own = spiffe.new("public", "default", "a")
    issue = [good.request(own)]
    source = svid.Source(lambda request: issue[0](request), good.anchors)
    await source.open()
    first, reasons = source.identity, list[str]()
    source.on_renewal = reasons.append
    issue[0] = weak.request(own)
    running = asyncio.create_task(source.run())
    try:
        source.go_by(trust.read(good.bundle.anchors + weak.bundle.anchors))
        async with asyncio.timeout(10):
            await _until(lambda: len(reasons) > 1)
            assert source.identity is first
            source.client_context()
            issue[0] = good.request(own)
            await _until(lambda: "" in reasons)
    finally:
        running.cancel()


@pytest.mark.parametrize("failure", ["", "away"])
async def test_other_anchors_have_it_renewed_at_once_and_connections_made_anew(failure: str) -> None:
    issuer = issuing.Issuer()
    source = await issuer.source("a")
    told: list[bytes] = []
    reasons: list[str] = []
    source.on_change.append(lambda: told.append(source.identity.chain))
    source.on_renewal = reasons.append
    before = source.identity.chain
    issuer.failure = failure
    running = asyncio.create_task(source.run())
    try:
        source.go_by(trust.read(issuer.bundle.anchors + issuing.made("other.test").anchors))
        async with asyncio.timeout(10):
            await _until(lambda: bool(told and reasons))
    finally:
        running.cancel()
    assert (told[0] == before) is bool(failure)
    assert reasons[0] == ("sign" if failure else "")


@pytest.mark.parametrize("waits", [True, False])
async def test_an_issuer_that_is_not_there_is_waited_for_if_that_is_asked(waits: bool) -> None:
    issuer = issuing.Issuer()
    issue = issuer.request(spiffe.new("public", "default", "a"))
    tries = 0

    async def late(request: bytes) -> svid.Issued:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise svid.Unreached("nobody there")
        return await issue(request)

    source = svid.Source(late, issuer.anchors)
    if waits:
        await source.open(waits=True)
        assert source.identity.id.app_id == "a"
        return
    with pytest.raises(svid.Unavailable, match="failed to retrieve the initial identity: nobody there"):
        await source.open()


async def test_certificates_that_end_at_once_are_not_renewed_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    issuer = issuing.Issuer(life=-1.0)
    source = await issuer.source("a")

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > 5:
            raise asyncio.CancelledError
        await asyncio.sleep(0)

    monkeypatch.setattr(source, "_sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await source.run()
    assert all(0 < pause <= svid.LEAST_SECONDS for pause in pauses)


class _World:
    """A server with an identity, and what its peers see and are."""

    def __init__(self, issuer: issuing.Issuer) -> None:
        self.issuer = issuer
        self.address = ""

    async def serve(self, source: svid.Source, with_client: bool) -> server.Server:
        async def handle(exchange: Exchange) -> None:
            exchange.respond(200, ())

        context = source.server_context(with_client)
        one = server.Server(handle, server.Options(with_http1=False, tls=context))
        self.address = f"localhost:{await one.listen('127.0.0.1', 0)}"
        return one

    async def call(self, connector: http2_pool.Connector) -> bytes:
        """The certificate of the server that was reached."""
        pool = http2_pool.Pool(connector, http2.Limits())
        try:
            connection = await pool.connection(self.address)
            shown = connection.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
            head = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"x")]
            request = connection.open(head, b"", True)
            assert dict(await request.head())[b":status"] == b"200"
            return bytes(shown)
        finally:
            pool.close()


async def test_both_sides_show_who_they_are_and_the_new_certificate_after_a_renewal() -> None:
    issuer = issuing.Issuer()
    world = _World(issuer)
    callee, caller = await issuer.source("callee"), await issuer.source("caller", "elsewhere")
    serving = await world.serve(callee, with_client=True)
    connector = tls.connector(caller.client_context, lambda found: found.path == "/ns/default/callee")
    before = await world.call(connector)
    await callee.renew()
    after = await world.call(connector)
    await serving.stop(0)
    shown = [certificates.spiffe_id(x509.load_der_x509_certificate(one)) for one in (before, after)]
    assert shown == [callee.identity.id] * 2
    assert before != after


async def test_a_server_that_is_another_is_not_talked_to() -> None:
    issuer = issuing.Issuer()
    world = _World(issuer)
    serving = await world.serve(await issuer.source("another"), with_client=False)
    caller = await issuer.source("caller")
    with pytest.raises(http2_pool.Unreachable, match="unexpected SPIFFE ID"):
        await world.call(tls.connector(caller.client_context, lambda found: found.app_id == "callee"))
    await serving.stop(0)


async def test_a_server_of_another_authority_is_not_talked_to() -> None:
    world = _World(issuing.Issuer())
    serving = await world.serve(await world.issuer.source("callee"), with_client=False)
    caller = await issuing.Issuer().source("caller")
    with pytest.raises(http2_pool.Unreachable, match="certificate"):
        await world.call(tls.connector(caller.client_context, lambda found: True))
    await serving.stop(0)


async def test_a_client_without_a_certificate_is_not_let_in() -> None:
    issuer = issuing.Issuer()
    world = _World(issuer)
    serving = await world.serve(await issuer.source("callee"), with_client=True)
    with pytest.raises(Exception, match=r"EOF|certificate|reading from server"):
        async with asyncio.timeout(10):
            await world.call(tls.connector(lambda: tls.client(issuer.anchors), lambda found: True))
    await serving.stop(0)
