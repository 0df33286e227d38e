"""Which versions of TLS are spoken: none before 1.2, whoever makes the context."""

import re
import ssl
from pathlib import Path

import pytest
from tests.unit.security import issuing

from pydapr.net import client_tls
from pydapr.security import tls

SOURCES = sorted(Path(tls.__file__).parent.parent.rglob("*.py"))
LOWEST = ssl.TLSVersion.TLSv1_2


def test_a_context_of_this_python_begins_at_1_2() -> None:
    """What the library does unless it is told otherwise, since Python 3.10."""
    made = [
        ssl.create_default_context(),
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
    ]

    assert [context.minimum_version for context in made] == [LOWEST] * 3


@pytest.mark.parametrize("path", [path for path in SOURCES if "ssl." in path.read_text()], ids=lambda path: path.name)
def test_nobody_tells_it_otherwise(path: Path) -> None:
    text = path.read_text()

    assert set(re.findall(r"minimum_version = (\S+)", text)) <= {"ssl.TLSVersion.TLSv1_2", "ssl.TLSVersion.TLSv1_3"}
    assert set(re.findall(r"SSLContext\((\S*)\)", text)) <= {"ssl.PROTOCOL_TLS_CLIENT", "ssl.PROTOCOL_TLS_SERVER"}
    assert not re.findall(r"PROTOCOL_TLSv1|PROTOCOL_SSL|maximum_version|@SECLEVEL=0", text)


async def test_contexts_of_sidecars_say_it_themselves() -> None:
    """The system's settings for OpenSSL may be laxer."""
    source = await issuing.Issuer().source("a")
    contexts = [source.server_context(with_client=True), source.client_context(), client_tls.context("", "", "", "")]

    assert [one.minimum_version for one in contexts] == [LOWEST] * 3
