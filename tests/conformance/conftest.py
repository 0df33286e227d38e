"""Ends the servers that cases share."""

from collections.abc import Iterator

import pytest
from tests.conformance import servers


@pytest.fixture(autouse=True, scope="session")
def no_server_stays() -> Iterator[None]:
    yield
    servers.stop_all()
