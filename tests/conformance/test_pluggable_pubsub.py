"""The cases of brokers, for one that stands behind a socket: both sides of the protocol at once."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.conformance import plugged, test_pubsub
from tests.conformance.test_pubsub import Brokers, Ready, broker, topic

from pydapr.components.pubsub import PubSub

__all__ = ["broker", "topic"]

OTHERWISE = {
    "test_every_broker_is_judged": "it is about the types that are built in",
}

for _name, _case in vars(test_pubsub).items():
    if _name.startswith("test_") and _name not in OTHERWISE:
        globals()[_name] = _case


class Plugged(Brokers):
    """Each with a connection of its own."""

    socket: plugged.Socket

    async def open(self, group: str = "one") -> PubSub:
        made = await self.socket.plug(group, {**self.ready.metadata, "consumerID": f"{group}-{self._mark}"})
        assert isinstance(made, PubSub)
        self._made.append(made)
        await made.open()
        return made


@pytest.fixture
def type_() -> str:
    return "pubsub.sqlite"


@pytest.fixture
def serve() -> test_pubsub.Serve:
    return test_pubsub.sqlite


@pytest.fixture
def ready(serve: test_pubsub.Serve, tmp_path: Path) -> Iterator[Ready]:
    with serve(tmp_path) as one:
        yield Ready(one.metadata, one.promises - {test_pubsub.BROWSES}, ordered=one.ordered)


@pytest.fixture
async def brokers(type_: str, ready: Ready) -> AsyncIterator[Brokers]:
    async with plugged.at_socket(type_) as socket:
        made = Plugged(type_, ready)
        made.socket = socket
        yield made
        await made.close()
