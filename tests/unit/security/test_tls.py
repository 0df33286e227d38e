"""Which versions of TLS are spoken: no context is made that speaks one before 1.2."""

import re
from pathlib import Path

import pytest
from tests.unit.security import issuing

from pydapr.net import client_tls
from pydapr.security import tls

SOURCE = Path(tls.__file__).parent.parent
_MAKES = re.compile(r"^( *)(\w+) = (?:ssl\.SSLContext|ssl\.create_default_context)\(.*\n(.*)\n", re.MULTILINE)


def test_every_context_says_its_lowest_version() -> None:
    """The line after one is made: nobody can forget it in a new place."""
    made = []
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        found = _MAKES.findall(text)
        assert len(found) == len(re.findall(r"SSLContext\(|create_default_context\(", text)), path
        made += [(path.name, name, following.strip()) for _, name, following in found]

    assert len(made) >= 6
    assert {following == f"{name}.minimum_version = ssl.TLSVersion.TLSv1_2" for _, name, following in made} == {True}


async def test_what_is_older_is_refused() -> None:
    ssl = pytest.importorskip("ssl")
    source = await issuing.Issuer().source("a")

    contexts = [source.server_context(with_client=True), source.client_context(), client_tls.context("", "", "", "")]

    assert [one.minimum_version for one in contexts] == [ssl.TLSVersion.TLSv1_2] * 3
