"""Trust anchors while one root replaces another, in the form in which the original makes them: all of one name."""

import asyncio
import itertools

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from tests.unit.security import issuing

from pydapr.net import http2_pool, server
from pydapr.net.exchange import Exchange
from pydapr.security import certificates, pem, svid, tls, trust
from pydapr.sentry import bundle
from pydapr.wire import http2

LIMIT = 20.0


def both(one: bundle.Bundle, other: bundle.Bundle) -> trust.Anchors:
    return trust.read(one.anchors + other.anchors)


async def source(made: bundle.Bundle, app_id: str, anchors: trust.Anchors) -> svid.Source:
    found = await issuing.Issuer(made).source(app_id)
    found.go_by(anchors)
    return found


async def call(callee: svid.Source, caller: svid.Source) -> None:
    """Connects. Raises `http2_pool.Unreachable`."""

    async def handle(exchange: Exchange) -> None:
        exchange.respond(200, ())

    serving = server.Server(handle, server.Options(with_http1=False, tls=callee.server_context(with_client=True)))
    address = f"localhost:{await serving.listen('127.0.0.1', 0)}"
    pool = http2_pool.Pool(tls.connector(caller.client_context, lambda _: True), http2.Limits())
    try:
        async with asyncio.timeout(LIMIT):
            await pool.connection(address)
    finally:
        pool.close()
        await serving.stop(0.0)


@pytest.mark.parametrize(("first", "second"), list(itertools.product((False, True), repeat=2)))
async def test_old_and_new_certificates_meet_while_both_roots_count(first: bool, second: bool) -> None:
    old, new = issuing.made_as_the_original(), issuing.made_as_the_original()
    for anchors in (both(old, new), both(new, old)):
        callee = await source(new if first else old, "callee", anchors)
        await call(callee, await source(new if second else old, "caller", anchors))


async def test_who_has_been_renewed_still_knows_those_who_have_not() -> None:
    old, new = issuing.made_as_the_original(), issuing.made_as_the_original()
    anchors = both(old, new)
    issuer = issuing.Issuer(old)
    callee = await issuer.source("callee")
    callee.go_by(anchors)
    early = await source(old, "early", anchors)
    issuer.bundle = new
    await callee.renew()
    await call(callee, early)
    await call(callee, await source(new, "late", anchors))


@pytest.mark.parametrize("is_server", [True, False])
async def test_a_root_that_is_gone_is_not_trusted_any_more(is_server: bool) -> None:
    old, new = issuing.made_as_the_original(), issuing.made_as_the_original()
    stale = await source(old, "stale", both(old, new))
    fresh = await issuing.Issuer(new).source("fresh")
    with pytest.raises(http2_pool.Unreachable):
        await call(stale, fresh) if is_server else await call(fresh, stale)


def test_nothing_changes_where_names_differ() -> None:
    one, other = issuing.made("one.test"), issuing.made("other.test")
    anchors = both(one, other)
    assert trust.with_issuers(anchors, one.chain, issuing.now()) == anchors
    assert trust.in_turn(anchors) == [anchors]


def test_issuers_that_are_under_none_of_the_roots_are_not_trusted() -> None:
    old, new, other = (issuing.made_as_the_original() for _ in range(3))
    anchors = both(old, new)
    assert trust.with_issuers(anchors, other.chain, issuing.now()) == anchors


def test_who_knows_no_issuer_tries_each_root_of_the_same_name() -> None:
    old, new = issuing.made_as_the_original(), issuing.made_as_the_original()
    anchors = both(old, new)
    assert trust.in_turn(anchors) == [anchors, trust.read(old.anchors), trust.read(new.anchors)]


def test_an_issuer_of_ours_says_which_root_is_above_it() -> None:
    made = issuing.made()
    root = certificates.read_all(made.anchors)[0]
    above = made.issuer.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    own = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert above.key_identifier == own.digest


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x77"),  # a version that there is none of
        (b"\x0c\x09localhost", b"\x0d\x09localhost"),  # a name that is no text
        (b"\x0c\x09localhost", b"\x03\x09localhost"),  # a name of bits
        (b"\x0c\x09localhost", b"\x1a\x09localhost"),  # only OpenSSL does not read this one
    ],
)
def test_what_somebody_cannot_read_is_no_anchor(before: bytes, after: bytes) -> None:
    anchors = issuing.made().anchors
    broken = certificates.read_all(anchors)[0].public_bytes(serialization.Encoding.DER).replace(before, after)
    with pytest.raises(certificates.Invalid, match="failed to decode trust anchors: "):
        trust.read(anchors + pem.encode("CERTIFICATE", broken))
